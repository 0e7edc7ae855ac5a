"""What goes to Kafka for a value that the store does not take for too long."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, Protocol

from faust_s3.exceptions import StoreUnavailable
from faust_s3.pipeline import Pipeline
from faust_s3.retry import Patience

__all__ = ["Fallback"]

logger = logging.getLogger(__name__)

#: Seconds between two log lines about what is sent inline.
_LOG_INTERVAL: Final = 30.0


class _PatienceOf(Protocol):
    def __call__(self, pipeline: Pipeline, *, forever: bool) -> Patience: ...


class Fallback:
    """Sends values inline while the store is away, if ``fallback`` says so and they fit.

    Once the store has been away for ``send_timeout``, each value is tried once and then sent
    inline, so that an outage does not cost that time for each of them.

    Args:
        patience: Returns how long a sender waits for the store; as ``Hub.patience`` does.
    """

    def __init__(self, patience: _PatienceOf) -> None:
        self._patience = patience
        self._inline = 0
        self._logged: float | None = None

    async def store(
        self,
        value: bytes,
        pipeline: Pipeline,
        offload: Callable[[Patience], Awaitable[bytes]],
        *,
        room: int,
        forever: bool,
        topic: str,
    ) -> bytes:
        """Return what goes on the topic for a large value: its claim, or the value itself.

        Args:
            value: The serialized bytes.
            pipeline: What offloads it.
            offload: Does it, and returns the claim.
            room: Bytes of value that the producer takes in this message.
            forever: The sender waits while the worker lives, if the value does not fit.
            topic: Name of the Kafka topic, for the log.

        Raises:
            StoreUnavailable: When patience is at its end and the value may not go inline. Also
                when the app stops: then nobody has waited for long enough.
            PermanentError: If the store refuses.
        """
        patience = self._patience(pipeline, forever=forever)
        inline = pipeline.wrap(value)
        if pipeline.config.fallback != "inline" or len(inline) > room:
            return await offload(patience)
        left = max(0.0, pipeline.config.send_timeout - pipeline.away)
        try:
            return await offload(replace(patience, timeout=left))
        except StoreUnavailable as exc:
            if patience.stopping():
                raise
            self._tell(pipeline, len(value), topic, exc)
            return inline

    def _tell(self, pipeline: Pipeline, size: int, topic: str, exc: StoreUnavailable) -> None:
        self._inline += 1
        now = time.monotonic()
        if self._logged is not None and now - self._logged < _LOG_INTERVAL:
            return
        logger.warning(
            "%s is unavailable, so values go to Kafka inline: %d since this was said last, one "
            "of %d bytes to the topic %s: %s",
            pipeline.config.home,
            self._inline,
            size,
            topic,
            exc,
        )
        self._logged, self._inline = now, 0
