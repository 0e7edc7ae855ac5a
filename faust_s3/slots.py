"""How many requests are in flight: a number that finds its own level, and the line before it."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, TypeVar

from faust_s3.exceptions import StoreUnavailable

__all__ = ["Level", "Slots"]

T = TypeVar("T")

#: Answers of one kind that make a mean.
_FEW: Final = 16
#: How much longer than the best mean answers may take before that is taken for a queue: means
#: of a store that is not busy differ by so much.
_TOLERANCE: Final = 1.5
#: What the level is multiplied by when the store refuses (RFC 9438, section 4.6).
_BACK_OFF: Final = 0.7
#: Seconds until the best means are found anew: a store, or the way to it, may have become slower.
_RENEW: Final = 10.0
#: What the level is multiplied by for that, and the windows that it takes: in the first two
#: comes what was asked for before.
_LOOK: Final = 0.25
_LOOK_WINDOWS: Final = 3


class Level:
    """The number of requests in flight: more while that makes none slower, fewer when it does.

    The gradient algorithm of Netflix's *concurrency-limits* (E. Landau, W. Thurston, T. Bozarth,
    "Performance Under Load", Netflix Technology Blog, 2018): once in a window of answers, ``level =
    level * gradient + sqrt(level)``, where the gradient is the time that they would have taken
    without a queue, through the time that they took, from 0.5 to 1. A queue is made by the store,
    the way to it, or this process's own processor. When the store refuses, the level goes down
    by a factor, once in a window, as in TCP (D.-M. Chiu, R. Jain, "Analysis of the Increase and
    Decrease Algorithms for Congestion Avoidance in Computer Networks", 1989).

    The time without a queue is not that of the fastest answer, but the least mean of several:
    without a queue, too, answers of a store differ. It is kept for each kind of request, since a
    small object is here sooner than a large one, and found anew every 10 s, for a moment at a
    lower level, as in BBR (N. Cardwell et al., "BBR: Congestion-Based Congestion Control", ACM
    Queue, 2016).

    Pure: it neither waits nor looks at a clock.

    Args:
        least: The fewest requests.
        most: The most; as many as the fewest: the number is fixed.
        start: How many at first.
    """

    def __init__(self, least: int, most: int, start: int) -> None:
        self._least = least
        self._most = most
        self._level = float(min(max(start, least), most))
        self._best: dict[Hashable, float] = {}
        self._before: dict[Hashable, float] = {}
        self._means: dict[Hashable, tuple[int, float]] = {}
        self._renewed: float | None = None
        self._looking = 0
        self._resume = self._level
        # Of the window:
        self._answers = self._busiest = 0
        self._ideal = self._taken = 0.0
        self._was_refused = False

    def __int__(self) -> int:
        return int(self._level)

    def answered(self, kind: Hashable, seconds: float, *, in_flight: int, now: float) -> None:
        """Note a request that was answered.

        Args:
            kind: What takes as long as this one, if there is no queue.
            seconds: That it took.
            in_flight: Requests that were in flight, with this one.
            now: The time in seconds.
        """
        count, total = self._means.get(kind, (0, 0.0))
        count, total = count + 1, total + seconds
        if count == _FEW:
            self._best[kind] = min(self._best.get(kind, math.inf), total / count)
            count, total = 0, 0.0
        self._means[kind] = count, total
        if kind in self._best:
            self._ideal += self._best[kind] * _TOLERANCE
            self._taken += seconds
        self._ended(in_flight, now)

    def refused(self, *, in_flight: int, now: float) -> None:
        """Note a request that the store did not answer, or asked to come later with.

        Args:
            in_flight: As for :meth:`answered`.
            now: Likewise.
        """
        if not self._was_refused:
            self._set(self._level * _BACK_OFF)
            self._resume = min(self._resume, self._level)
            self._begin()
            self._was_refused = True
        self._ended(in_flight, now)

    def _ended(self, in_flight: int, now: float) -> None:
        self._answers += 1
        self._busiest = max(self._busiest, in_flight)
        if self._answers >= max(_FEW, int(self)):
            self._adjust(now)

    def _adjust(self, now: float) -> None:
        refused, wanted = self._was_refused, self._busiest >= self._level / 2
        gradient = self._ideal / self._taken if self._taken else 1.0
        self._begin()
        if self._looking:
            self._look()
        elif self._renewed is None or now - self._renewed >= _RENEW:
            self._renewed, self._looking = now, _LOOK_WINDOWS
            self._resume = self._level
            self._set(self._level * _LOOK)
        elif wanted and not refused:
            self._set(self._level * max(0.5, min(1.0, gradient)) + math.sqrt(self._level))

    def _look(self) -> None:
        self._looking -= 1
        if self._looking == 1:
            self._before, self._best, self._means = self._best, {}, {}
        elif self._looking == 0:
            # Of what was not asked for meanwhile nothing is known: it may have become slower.
            old = {kind: best * _TOLERANCE for kind, best in self._before.items()}
            self._best = {**old, **self._best}
            self._set(self._resume)

    def _begin(self) -> None:
        self._answers = self._busiest = 0
        self._ideal = self._taken = 0.0
        self._was_refused = False

    def _set(self, level: float) -> None:
        self._level = min(max(level, self._least), self._most)


class Slots:
    """Lets as many requests through as there may be, in the order in which they come.

    Args:
        level: How many.
        clock: Returns seconds.
    """

    def __init__(self, level: Level, clock: Callable[[], float] = time.monotonic) -> None:
        self._level = level
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._taken = 0

    async def run(self, kind: Hashable, call: Callable[[], Awaitable[T]]) -> T:
        """Wait for a slot, make one request in it, and see how the request does.

        Args:
            kind: As for :meth:`Level.answered`.
            call: Makes the request.
        """
        await self._enter()
        began = self._clock()
        try:
            result = await call()
        except StoreUnavailable:
            self._level.refused(in_flight=self._taken, now=self._clock())
            raise
        else:
            now = self._clock()
            self._level.answered(kind, now - began, in_flight=self._taken, now=now)
            return result
        finally:
            self._taken -= 1
            self._let_in()

    async def _enter(self) -> None:
        if not self._waiting and self._taken < int(self._level):
            self._taken += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.cancelled():  # it was let in as it was cancelled
                self._taken -= 1
                self._let_in()
            raise

    def _let_in(self) -> None:
        while self._waiting and self._taken < int(self._level):
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)
