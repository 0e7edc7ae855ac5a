"""Uploads overlap, publishing does not reorder: one line of senders for each topic."""

from __future__ import annotations

import asyncio

__all__ = ["Line", "Place"]


class Place:
    """One sender's place in a line.

    Every place is left exactly once, whether its message was published or not. Most are left at
    once, so that only those who have to wait make a future.
    """

    __slots__ = ("__weakref__", "_before", "_behind", "_is_left", "_loop")

    def __init__(self, before: Place | None, loop: asyncio.AbstractEventLoop) -> None:
        self._before = before
        self._behind: tuple[asyncio.Future[None] | Place, ...] = ()
        self._loop = loop
        self._is_left = False

    def holds_up(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Tell whether whoever comes behind has to wait, on this event loop."""
        # One may be left behind by an app that ran on another event loop.
        return not self._is_left and self._loop is loop

    @property
    def waits(self) -> bool:
        """Whether somebody is before."""
        return self._ahead() is not None

    async def reached(self) -> None:
        """Wait until everybody before has left."""
        if (ahead := self._ahead()) is not None:
            turn: asyncio.Future[None] = self._loop.create_future()
            ahead._behind += (turn,)
            await turn

    def leave(self) -> None:
        """Let the next one go on, but not past those who are still before this one."""
        if (ahead := self._ahead()) is not None:
            ahead._behind += (self,)
        else:
            self._open()

    def _ahead(self) -> Place | None:
        before = self._before
        return None if before is None or before._is_left else before

    def _open(self) -> None:
        places = [self]
        while places:  # those behind may have left before their turn, thousands in a row
            place = places.pop()
            place._before = None  # or the line would keep every place there ever was
            place._is_left = True
            behind, place._behind = place._behind, ()
            for one in behind:
                if isinstance(one, Place):
                    places.append(one)
                elif not one.done():
                    one.set_result(None)


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
