"""Guards around every test: what it leaves behind or blocks on is its failure.

A plugin of pytest, named in ``conftest.py``.

* No call blocks the event loop (``@pytest.mark.may_block`` where that is the requirement).
* No task is left pending on the test's event loop, and no failure in it goes unseen.
* No thread of ours is left running.
* No test takes longer than ``TIME_LIMIT`` (``@pytest.mark.time_limit(seconds)`` for more).
"""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from types import FrameType
from typing import Any

import pytest
import pytest_asyncio
from blockbuster import BlockBuster

#: Seconds.
TIME_LIMIT = 60.0
#: What the names of all our threads start with.
OUR_THREADS = "faust-s3"
#: Turns of the event loop in which cancelled tasks may come to their end.
LAST_TURNS = 10


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers that loosen a guard."""
    config.addinivalue_line("markers", "may_block: the test calls what blocks the event loop")
    config.addinivalue_line("markers", "time_limit(seconds): instead of 60 s")


@pytest.fixture(autouse=True)
def time_limit(request: pytest.FixtureRequest) -> Iterator[None]:
    """End a test that hangs: by an exception if possible, by the process if not."""
    marker = request.node.get_closest_marker("time_limit")
    limit = marker.args[0] if marker else TIME_LIMIT

    def expired(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"the test takes longer than {limit:.0f} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, limit)
    faulthandler.dump_traceback_later(limit + 10, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def no_leaked_threads(time_limit: None) -> Iterator[None]:
    """Fail a test that leaves one of our threads running."""
    before = set(threading.enumerate())
    yield
    left = [
        thread
        for thread in threading.enumerate()
        if thread not in before and thread.name.startswith(OUR_THREADS)
    ]
    for thread in left:
        thread.join(timeout=1)  # one that was told to end may still be at it
    names = [thread.name for thread in left if thread.is_alive()]
    assert not names, f"the test leaves threads running: {', '.join(names)}"


@pytest_asyncio.fixture
async def tasks_on_loop() -> AsyncIterator[None]:
    """Fail an asynchronous test that leaves tasks pending, or failures unseen."""
    loop = asyncio.get_running_loop()
    unseen: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unseen.append(context))
    before = asyncio.all_tasks()
    yield
    for _ in range(LAST_TURNS):
        if not (left := asyncio.all_tasks() - before - {asyncio.current_task()}):
            break
        await asyncio.sleep(0)
    loop.set_exception_handler(None)
    for task in left:
        task.cancel()
    assert not left, f"the test leaves tasks pending: {left}"
    assert not unseen, f"failures on the event loop that nobody saw: {unseen}"


@pytest.fixture(autouse=True)
def no_leaked_tasks(request: pytest.FixtureRequest, no_leaked_threads: None) -> None:
    """Watch the event loop of a test that has one."""
    if request.node.get_closest_marker("asyncio"):
        request.getfixturevalue("tasks_on_loop")


@pytest.fixture(scope="session")
def blocking_calls() -> BlockBuster:
    """Make what notices blocking calls, once."""
    blockers = BlockBuster()
    for function in blockers.functions.values():
        # Handing work to a thread takes locks that others hold for microseconds, and so does
        # measuring the coverage of a file that is new.
        function.can_block_in("faust_s3/stores/pool.py", {"submit"})
        function.can_block_in("concurrent/futures/_base.py", {"add_done_callback", "cancel"})
        function.can_block_in("coverage/collector.py", {"lock_data"})
    return blockers


@pytest.fixture(autouse=True)
def no_blocking_calls(
    request: pytest.FixtureRequest, no_leaked_tasks: None, blocking_calls: BlockBuster
) -> Iterator[None]:
    """Fail a test that blocks an event loop."""
    if request.node.get_closest_marker("may_block"):
        yield
        return
    blocking_calls.activate()
    try:
        yield
    finally:
        blocking_calls.deactivate()
