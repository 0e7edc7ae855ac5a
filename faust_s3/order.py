"""Uploads overlap, publishing does not reorder: one line of senders for each topic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Line", "Place"]


class Place:
    """One sender's place in a line.

    Every place is left exactly once, whether its message was published or not. Most are left at
    once, so that only those who have to wait make a future.
    """

    __slots__ = ("__weakref__", "_before", "_is_left", "_left", "_loop")

    def __init__(self, before: Place | None, loop: asyncio.AbstractEventLoop) -> None:
        self._before = before
        self._loop = loop
        self._is_left = False
        self._left: asyncio.Future[None] | None = None

    def holds_up(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Tell whether whoever comes behind has to wait, on this event loop."""
        # One may be left behind by an app that ran on another event loop.
        return not self._is_left and self._loop is loop

    @property
    def waits(self) -> bool:
        """Whether somebody is before."""
        return self._before is not None and not self._before._is_left

    async def reached(self) -> None:
        """Wait until everybody before has left."""
        if self._before is not None:
            await self._before.left()

    async def left(self) -> None:
        """Wait until this place has been left."""
        if not self._is_left:
            await asyncio.wait({self._leaving()})

    def leave(self) -> None:
        """Let the next one go on, but not past those who are still before this one."""
        if self._before is None or self._before._is_left:
            self._open()
        else:
            self._before._then(self._open)

    def _leaving(self) -> asyncio.Future[None]:
        if self._left is None:
            self._left = self._loop.create_future()
        return self._left

    def _then(self, follow: Callable[[], None]) -> None:
        self._leaving().add_done_callback(lambda _: follow())

    def _open(self) -> None:
        self._before = None  # or the line would keep every place there ever was
        self._is_left = True
        if self._left is not None and not self._left.done():
            self._left.set_result(None)


class Line:
    """The senders to one topic, in the order in which they sent."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: Place | None = None

    @property
    def empty(self) -> bool:
        """Whether everybody has left."""
        return self._last is None or not self._last.holds_up(asyncio.get_running_loop())

    def join(self) -> Place:
        """Take the last place."""
        loop, last = asyncio.get_running_loop(), self._last
        before = last if last is not None and last.holds_up(loop) else None
        self._last = place = Place(before, loop)
        return place
