"""When and how often to try again.

One kind of error is worth it: :exc:`~faust_s3.exceptions.StoreUnavailable`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from faust_s3.exceptions import IntegrityError, StoreUnavailable

__all__ = ["FOREVER", "Backoff", "Outage", "Patience", "retrying"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds between two log lines about the same outage.
_LOG_INTERVAL = 30.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Capped exponential backoff with full jitter.

    Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    Attributes:
        base: Upper bound of the first pause, in seconds.
        cap: Upper bound of every pause, in seconds.
    """

    base: float
    cap: float

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait after the ``attempt``-th failure, counted from 1."""
        # The exponent is bounded because 2.0**1024 overflows in a long outage.
        return random.uniform(0, min(self.cap, self.base * 2.0 ** min(attempt - 1, 32)))


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a caller is ready to wait for the store.

    Attributes:
        timeout: Seconds after which a failure is final; ``None``: as long as it takes.
        stopping: Answers True once waiting has no use any more, as the app stops.
        sleep: Waits that many seconds, or less when ``stopping`` becomes true.
    """

    timeout: float | None = None
    stopping: Callable[[], bool] = lambda: False
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def after(self, seconds: float) -> Patience:
        """Return what is left of it."""
        return self if self.timeout is None else replace(self, timeout=self.timeout - seconds)


#: For readers: their wait is ended by cancelling them.
FOREVER = Patience()


class Outage:
    """Tells the log that the store is away, now and then instead of at every try."""

    def __init__(self, store: str, meanwhile: str = "records wait, nothing is lost") -> None:
        self._store = store
        self._meanwhile = meanwhile
        self._since: float | None = None
        self._logged = 0.0

    @property
    def seconds(self) -> float:
        """How long it has lasted; 0.0 if there is none."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def failed(self, exc: StoreUnavailable, pause: float) -> None:
        """Note a failed try that will be repeated after ``pause`` seconds."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        elif now - self._logged < _LOG_INTERVAL:
            logger.debug("%s: %s; trying again in %.1f s", self._store, exc, pause)
            return
        self._logged = now
        logger.warning(
            "%s is unavailable for %.0f s now: %s; %s",
            self._store,
            now - self._since,
            exc,
            self._meanwhile,
        )

    def succeeded(self) -> None:
        """Note that the store answered."""
        if self._since is not None:
            logger.info(
                "%s answers again after %.0f s", self._store, time.monotonic() - self._since
            )
            self._since = None


async def retrying(
    call: Callable[[], Awaitable[T]], *, backoff: Backoff, patience: Patience, outage: Outage
) -> T:
    """Await ``call()`` until it does not raise ``StoreUnavailable``.

    Raises:
        StoreUnavailable: The last one, with ``attempts``, when patience is at its end.
    """
    deadline = None if patience.timeout is None else time.monotonic() + patience.timeout
    attempt = 0
    while True:
        attempt += 1
        try:
            result = await call()
        except StoreUnavailable as exc:
            pause = backoff.pause(attempt)
            if patience.stopping() or (
                deadline is not None and time.monotonic() + pause > deadline
            ):
                exc.at(attempts=attempt)
                raise
            outage.failed(exc, pause)
        except IntegrityError:
            outage.succeeded()  # it answers: what it has is what is wrong
            raise
        else:
            outage.succeeded()
            return result
        await patience.sleep(pause)
