"""What is counted where time would depend on the machine: copies of a payload, and tasks."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["copies_of", "counting_tasks"]

T = TypeVar("T")


async def copies_of(size: int, work: Awaitable[T]) -> tuple[int, T]:
    """Return how often so many bytes were held at once in Python's memory, and the result.

    What was there before does not count, and what is kept in the result does. Less than a
    whole time is not counted.
    """
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        result = await work
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (peak - before) // size, result


@contextmanager
def counting_tasks() -> Iterator[list[asyncio.Task[Any]]]:
    """Collect the tasks that are made on the running event loop."""
    loop, made = asyncio.get_running_loop(), []

    def make(loop: Any, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **kwargs)
        made.append(task)
        return task

    loop.set_task_factory(make)
    try:
        yield made
    finally:
        loop.set_task_factory(None)
