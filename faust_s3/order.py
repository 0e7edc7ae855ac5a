"""Uploads overlap, publishing does not reorder: one line of senders for each topic."""

from __future__ import annotations

import asyncio

__all__ = ["Line", "Place"]


class Place:
    """One sender's place in a line.

    Every place is left exactly once, whether its message was published or not.
    """

    __slots__ = ("_before", "_left")

    def __init__(self, before: asyncio.Future[None] | None) -> None:
        self._before = before
        self._left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def reached(self) -> None:
        """Wait until everybody before has left."""
        if self._before is not None and not self._before.done():
            await asyncio.wait({self._before})

    @property
    def waits(self) -> bool:
        """Whether somebody is before."""
        return self._before is not None and not self._before.done()

    async def left(self) -> None:
        """Wait until this place has been left."""
        await asyncio.wait({self._left})

    def leave(self) -> None:
        """Let the next one go on, but not past those who are still before this one."""
        if self._before is None or self._before.done():
            self._open()
        else:
            self._before.add_done_callback(lambda _: self._open())

    def _open(self) -> None:
        self._before = None  # or the line would keep every place there ever was
        if not self._left.done():
            self._left.set_result(None)


class Line:
    """The senders to one topic, in the order in which they sent."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: asyncio.Future[None] | None = None

    @property
    def empty(self) -> bool:
        """Whether everybody has left."""
        return self._before() is None

    def _before(self) -> asyncio.Future[None] | None:
        last = self._last
        if last is None or last.done() or last.get_loop() is not asyncio.get_running_loop():
            return None  # or left behind by an app that ran on another event loop
        return last

    def join(self) -> Place:
        """Take the last place."""
        place = Place(self._before())
        self._last = place._left
        return place
