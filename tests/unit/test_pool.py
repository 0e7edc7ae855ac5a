"""Threads that the end of the process waits for only a little."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from faust_s3.stores.pool import Pool

# They wait for threads, as those who use it do.
pytestmark = pytest.mark.may_block


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool(2, "faust-s3-test")
    yield made
    made.close()
    made.join()


def test_calls_run_in_threads(pool: Pool) -> None:
    """Results and errors come back."""
    assert pool.submit(lambda: threading.current_thread().name).result(10) == "faust-s3-test_0"
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 // 0).result(10)


def test_there_are_no_more_threads_than_allowed(pool: Pool) -> None:
    """The third call waits for one of the first two."""
    go_on = threading.Event()
    began = threading.Barrier(3)

    def wait() -> bool:
        began.wait(10)
        return go_on.wait(10)

    first, second = pool.submit(wait), pool.submit(wait)
    began.wait(10)
    third = pool.submit(lambda: threading.current_thread().name)
    assert not third.running()
    go_on.set()
    assert first.result(10)
    assert second.result(10)
    assert third.result(10) in ("faust-s3-test_0", "faust-s3-test_1")


def test_a_thread_that_is_free_is_used_again(pool: Pool) -> None:
    """One call after the other needs one thread."""
    idents = set()
    for _ in range(5):
        idents.add(pool.submit(threading.get_ident).result(10))
        while not pool._idle._value:  # it says so a moment after the result
            pass
    assert len(idents) == 1


def test_a_call_that_was_cancelled_does_not_run(pool: Pool) -> None:
    """Nor is a thread lost by it."""
    go_on, began = threading.Event(), threading.Barrier(3)

    def wait() -> bool:
        began.wait(10)
        return go_on.wait(10)

    busy = [pool.submit(wait), pool.submit(wait)]
    began.wait(10)
    ran: list[int] = []
    assert pool.submit(lambda: ran.append(1)).cancel()
    go_on.set()
    assert all(future.result(10) for future in busy)
    pool.submit(lambda: ran.append(2)).result(10)
    assert ran == [2]


def test_what_was_submitted_before_the_end_is_done() -> None:
    """Threads end after it, and take no more."""
    pool = Pool(1, "faust-s3-test")
    go_on = threading.Event()
    first = pool.submit(lambda: go_on.wait(10))
    second = pool.submit(lambda: "done")
    pool.close()
    pool.close()
    with pytest.raises(RuntimeError, match="the pool is closed"):
        pool.submit(lambda: "never")
    pool.join(0.001)
    go_on.set()
    pool.join(10)
    assert first.result(0)
    assert second.result(0) == "done"


def test_threads_of_a_pool_that_is_forgotten_end() -> None:
    """A store that nobody closed leaves none behind."""
    pool = Pool(1, "faust-s3-test")
    pool.submit(lambda: None).result(10)
    (thread,) = pool._threads
    del pool
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_the_process_ends_with_calls_that_do_not() -> None:
    """What is nearly done ends before, and what hangs does not hold it up."""
    code = """
import threading
from faust_s3.stores.pool import Pool
hangs, ends = Pool(1, "hangs"), Pool(1, "ends")
began = threading.Event()
hangs.submit(lambda: (began.set(), threading.Event().wait()))
ended = threading.Event()
ends.submit(lambda: (ended.wait(), print("ended")))
began.wait()
threading.Timer(0.2, ended.set).start()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "ended\n"
