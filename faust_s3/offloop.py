"""Work that would hold the event loop up, in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

__all__ = ["off_loop"]

T = TypeVar("T")

#: SHA-256 runs at 0.3 to 2 GB/s, and compression at 0.05 to 0.5: more than this would hold
#: the event loop up for longer than a trip to a thread takes.
_AT_ONCE: Final = 64 * 1024


async def off_loop(size: int, work: Callable[[], T]) -> T:
    """Run what takes long with so many bytes in a thread, and what does not at once."""
    return work() if size <= _AT_ONCE else await asyncio.to_thread(work)
