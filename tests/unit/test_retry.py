"""Trying again: how long, how often, and what the log says; on a clock that nobody waits for."""

from __future__ import annotations

import asyncio
import logging
import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faust_s3 import retry
from faust_s3.exceptions import AccessDenied, StoreUnavailable
from faust_s3.retry import FOREVER, Backoff, Outage, Patience, retrying

BACKOFF = Backoff(base=1, cap=8)


class Clock:
    """A clock that sleeping sets forward at once."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class Calls:
    """A call that fails so many times, or always."""

    def __init__(self, failures: float, result: str = "done") -> None:
        self.failures = failures
        self.result = result
        self.count = 0

    async def __call__(self) -> str:
        self.count += 1
        if self.count <= self.failures:
            raise StoreUnavailable(f"failure {self.count}")
        return self.result


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Make every pause the longest one, and time pass by sleeping only."""
    clock = Clock()
    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=clock.monotonic))
    monkeypatch.setattr(retry, "random", SimpleNamespace(uniform=lambda low, high: high))
    return clock


def patience(clock: Clock, timeout: float | None = None) -> Patience:
    return Patience(timeout=timeout, sleep=clock.sleep)


async def run(calls: Calls, patience: Patience) -> str:
    return await retrying(calls, backoff=BACKOFF, patience=patience, outage=Outage("s3://b"))


async def test_success_is_not_repeated(clock: Clock) -> None:
    """A call that succeeds is made once, without a pause."""
    calls = Calls(0)
    assert await run(calls, patience(clock)) == "done"
    assert (calls.count, clock.pauses) == (1, [])


async def test_pauses_grow_to_the_cap(clock: Clock) -> None:
    """The upper bound of the pauses doubles from the base up to the cap."""
    await run(Calls(6), patience(clock))
    assert clock.pauses == [1, 2, 4, 8, 8, 8]


async def test_forever(clock: Clock) -> None:
    """Without a timeout, an outage of any length is waited out."""
    calls = Calls(5000)
    assert await run(calls, patience(clock)) == "done"
    assert calls.count == 5001


async def test_patience_ends(clock: Clock) -> None:
    """The last failure is raised, with the number of tries, rather than wait past the timeout."""
    calls = Calls(float("inf"))
    with pytest.raises(StoreUnavailable, match="failure 4") as caught:
        await run(calls, patience(clock, timeout=10))
    assert caught.value.attempts == 4
    assert clock.pauses == [1, 2, 4]


@pytest.mark.parametrize(("timeout", "tries"), [(0.99, 1), (1, 2), (1.01, 2), (2.99, 2), (3, 3)])
async def test_edges_of_patience(clock: Clock, timeout: float, tries: int) -> None:
    """A pause that ends exactly with the timeout is still made."""
    calls = Calls(float("inf"))
    with pytest.raises(StoreUnavailable):
        await run(calls, patience(clock, timeout=timeout))
    assert calls.count == tries


async def test_slow_calls_count(clock: Clock) -> None:
    """Time that the calls take is part of the timeout."""

    async def slow() -> str:
        clock.now += 20
        raise StoreUnavailable("slow")

    with pytest.raises(StoreUnavailable) as caught:
        await retrying(
            slow, backoff=BACKOFF, patience=patience(clock, timeout=10), outage=Outage("s3://b")
        )
    assert caught.value.attempts == 1


async def test_stopping(clock: Clock) -> None:
    """Nothing is tried again once the app stops."""
    calls = Calls(float("inf"))
    with pytest.raises(StoreUnavailable) as caught:
        await run(calls, Patience(stopping=lambda: calls.count == 3, sleep=clock.sleep))
    assert calls.count == caught.value.attempts == 3


async def test_success_while_stopping(clock: Clock) -> None:
    """A call that succeeds while the app stops has succeeded."""
    assert await run(Calls(0), Patience(stopping=lambda: True, sleep=clock.sleep)) == "done"


async def test_other_errors_are_not_repeated(clock: Clock) -> None:
    """What will fail the same way again is raised at once."""
    count = 0

    async def denied() -> str:
        nonlocal count
        count += 1
        raise AccessDenied("no")

    with pytest.raises(AccessDenied):
        await retrying(denied, backoff=BACKOFF, patience=patience(clock), outage=Outage("s3://b"))
    assert (count, clock.pauses) == (1, [])


async def test_cancelled_while_waiting(clock: Clock) -> None:
    """A reader's wait ends by cancelling it."""
    waiting = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(run(Calls(float("inf")), Patience(sleep=sleep)))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_readers_are_patient() -> None:
    """Readers wait as long as it takes."""
    assert FOREVER.timeout is None
    assert not FOREVER.stopping()


@given(
    st.floats(0.001, 10), st.floats(0.001, 100), st.integers(1, 10**9), st.integers(0, 2**32 - 1)
)
def test_pauses_are_bounded(base: float, cap: float, attempt: int, seed: int) -> None:
    """Every pause is within the cap and the exponential bound, after any number of failures."""
    random.seed(seed)
    pause = Backoff(base, cap).pause(attempt)
    assert 0 <= pause <= cap
    assert pause <= base * 2.0 ** min(attempt - 1, 100)


def test_pauses_differ() -> None:
    """Workers that failed together do not come back together."""
    assert len({BACKOFF.pause(5) for _ in range(20)}) > 1


async def test_outage_is_logged_now_and_then(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage is a warning at once and every half minute, not at every try."""
    caplog.set_level(logging.WARNING, "faust_s3.retry")
    await run(Calls(16), patience(clock))  # 1 + 2 + 4 + 13 * 8 s
    assert [record.args[1] for record in caplog.records] == [0, 31, 63, 95]


async def test_outage_names_store_and_reason(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning says which store, since when, why, and that nothing is lost."""
    await run(Calls(1), patience(clock))
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage() == (
        "s3://b is unavailable for 0 s now: failure 1; records wait, nothing is lost"
    )


async def test_end_of_outage_is_logged_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The end of an outage is logged, once and with its length."""
    caplog.set_level(logging.INFO, "faust_s3.retry")
    outage = Outage("s3://b")
    for failures in (2, 0, 0):
        await retrying(Calls(failures), backoff=BACKOFF, patience=patience(clock), outage=outage)
    messages = [r.getMessage() for r in caplog.records if r.levelno == logging.INFO]
    assert messages == ["s3://b answers again after 3 s"]


async def test_success_is_not_logged(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Without an outage, nothing is logged."""
    caplog.set_level(logging.DEBUG, "faust_s3.retry")
    await run(Calls(0), patience(clock))
    assert not caplog.records


async def test_a_second_outage_is_logged(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """An outage right after another one is a warning of its own."""
    caplog.set_level(logging.WARNING, "faust_s3.retry")
    outage = Outage("s3://b")
    for _ in range(2):
        await retrying(Calls(1), backoff=BACKOFF, patience=patience(clock), outage=outage)
    assert len(caplog.records) == 2
