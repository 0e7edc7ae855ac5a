"""How much may be on its way to the store at a time: senders wait while it is full."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Ticket", "Window"]


class Ticket:
    """One message's place in a window. It is given back by :meth:`leave`."""

    __slots__ = ("_ahead", "_ahead_bytes", "_fits", "_number", "_size", "_window")

    def __init__(self, window: Window, number: int, size: int) -> None:
        self._window = window
        self._number = number
        self._size = size
        self._ahead = len(window)
        self._ahead_bytes = window.size
        self._fits: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def admitted(self) -> bool:
        """Whether there is room for it beside those that came before."""
        return self._fits.done()

    async def wait(self, timeout: float) -> bool:
        """Wait until there is room, or so many seconds, and tell whether there is."""
        await asyncio.wait({self._fits}, timeout=timeout)
        return self.admitted

    def leave(self) -> None:
        """Make room for those behind. Leaving twice changes nothing."""
        self._window._leave(self)


class Window:
    """Bounds what is under way, by count and bytes, in the order of arrival.

    Nobody overtakes, and only what came before counts. So a sender, for which those behind it
    in the line of its topic wait, never waits for them. One message is always allowed,
    whatever its size.

    Args:
        max_count: Returns the most messages.
        max_size: Returns the most bytes.

    Attributes:
        size: Bytes that are under way, or wait.
    """

    def __init__(self, max_count: Callable[[], int], max_size: Callable[[], int]) -> None:
        self._max_count = max_count
        self._max_size = max_size
        self._tickets: set[Ticket] = set()
        self._waiting: dict[Ticket, None] = {}  # in the order of arrival
        self._numbers = 0
        self.size = 0

    def __len__(self) -> int:
        return len(self._tickets)

    def join(self, size: int) -> Ticket:
        """Take the last place, for so many bytes."""
        self._numbers += 1
        ticket = Ticket(self, self._numbers, size)
        self._tickets.add(ticket)
        self.size += size
        self._waiting[ticket] = None
        self._admit(ticket)
        return ticket

    def intrude(self, size: int) -> Ticket:
        """Take the last place for what cannot wait, and is counted all the same."""
        ticket = self.join(size)
        self._let_in(ticket)
        return ticket

    def _admit(self, ticket: Ticket) -> None:
        fits = ticket._ahead_bytes + ticket._size <= self._max_size()
        if not ticket._ahead or (fits and ticket._ahead < self._max_count()):
            self._let_in(ticket)

    def _let_in(self, ticket: Ticket) -> None:
        self._waiting.pop(ticket, None)
        if not ticket.admitted:
            ticket._fits.set_result(None)

    def _leave(self, gone: Ticket) -> None:
        if gone not in self._tickets:
            return
        self._tickets.discard(gone)
        self._let_in(gone)
        self.size -= gone._size
        for ticket in list(self._waiting):
            if ticket._number > gone._number:
                ticket._ahead -= 1
                ticket._ahead_bytes -= gone._size
                self._admit(ticket)
