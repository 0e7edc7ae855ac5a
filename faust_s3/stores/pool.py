"""Threads that the end of the process waits for only a little.

``concurrent.futures`` joins its threads when the interpreter ends. A request to a server that
says nothing would keep a stopped worker alive for ``read_timeout``, until it is killed.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Final, TypeVar
from weakref import WeakSet, finalize

__all__ = ["Pool"]

T = TypeVar("T")

#: Seconds that the end of the process waits for what runs: long enough to give up an upload.
_END_GRACE: Final = 2.0

Item = tuple["Future[Any]", Callable[[], Any]]


class Pool:
    """Runs calls in threads, which are started as they are needed.

    Args:
        size: Threads, at most.
        name: What their names begin with.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._threads: list[threading.Thread] = []
        self._items: SimpleQueue[Item | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._closed = False
        self._lock = threading.Lock()  # guards _threads and _closed; never held across calls
        _pools.add(self)
        forgotten = finalize(self, _dismiss, self._items, self._threads)
        forgotten.atexit = False

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run a call as soon as a thread is free.

        Raises:
            RuntimeError: If the pool is closed.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            self._items.put((future, call))
            if not self._idle.acquire(blocking=False) and len(self._threads) < self._size:
                name = f"{self._name}_{len(self._threads)}"
                # Not self._work: a thread would keep its pool, and with it itself, for ever.
                args = (self._items, self._idle)
                thread = threading.Thread(target=_work, args=args, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def close(self) -> None:
        """Take no more calls; threads end once all are done."""
        with self._lock:
            if not self._closed:
                self._closed = True
                _dismiss(self._items, self._threads)

    def join(self, timeout: float | None = None) -> None:
        """Wait until all threads have ended, or so many seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            thread.join(left)


_pools: WeakSet[Pool] = WeakSet()


def _dismiss(items: SimpleQueue[Item | None], threads: list[threading.Thread]) -> None:
    for _ in threads:
        items.put(None)


def _work(items: SimpleQueue[Item | None], idle: threading.Semaphore) -> None:
    while (item := items.get()) is not None:
        future, call = item
        if future.set_running_or_notify_cancel():
            try:
                result = call()
            except BaseException as exc:
                future.set_exception(exc)
            else:
                future.set_result(result)
                del result
        del item, future, call  # what waits for nothing keeps nothing
        idle.release()


@atexit.register
def _end() -> None:
    deadline = time.monotonic() + _END_GRACE
    pools = list(_pools)
    for pool in pools:
        pool.close()
    for pool in pools:
        pool.join(max(0.0, deadline - time.monotonic()))
