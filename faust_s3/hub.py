"""What the topics of one app share."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import faust
from faust.exceptions import ProducerSendError
from faust.types import EventT

from faust_s3.codec import CodecOwner
from faust_s3.exceptions import S3Error
from faust_s3.internals import CommitGate, commit_twice, consumer_of
from faust_s3.order import Line
from faust_s3.pipeline import Pipeline
from faust_s3.retry import Patience

__all__ = ["Hub", "OptIn", "Policy"]

logger = logging.getLogger(__name__)

#: Seconds. A commit that waits for a store that is away may take for ever.
_LAST_COMMIT = 5.0


@dataclass(frozen=True, slots=True)
class OptIn:
    """Which side of a topic's messages is offloaded, and by whom.

    Attributes:
        key: For keys.
        value: For values.
    """

    key: CodecOwner | None = None
    value: CodecOwner | None = None

    def __bool__(self) -> bool:
        return self.key is not None or self.value is not None


@dataclass(frozen=True, slots=True)
class Policy:
    """How one agent reads.

    Attributes:
        prefetch: Downloads ahead of the stream.
        prefetch_bytes: Their bytes.
        on_bad_claim: ``"raise"`` or ``"skip"``.
    """

    prefetch: int
    prefetch_bytes: int
    on_bad_claim: str


class Hub:
    """What the topics of one app share.

    Attributes:
        app: The app.
        owners: Its ``S3`` objects by name; the first one's settings are the topics' defaults.
        gate: What commits wait for.
        receivers: What the app's signals lead to; kept here for as long as the app.
    """

    def __init__(self, app: faust.App) -> None:
        self.app = app
        self.owners: dict[str, CodecOwner] = {}
        self.gate = CommitGate(app)
        self.receivers: object = None
        self._lines: dict[str, Line] = {}
        self._background: set[asyncio.Task[None]] = set()

    @property
    def pipelines(self) -> list[Pipeline]:
        """All that may redeem a claim."""
        return [owner.pipeline for owner in self.owners.values()]

    def default_policy(self) -> Policy:
        """Return how agents read that have no policy of their own."""
        config = self.pipelines[0].config
        return Policy(config.prefetch, config.prefetch_bytes, config.on_bad_claim)

    def line(self, topic: str) -> Line:
        """Return the line of senders to a topic."""
        return self._lines.setdefault(topic, Line())

    def patience(self, pipeline: Pipeline, source: EventT[Any] | None) -> Patience:
        """Return how long a sender waits: in an agent, while the worker lives."""
        return Patience(
            timeout=None if source is not None else pipeline.config.send_timeout,
            stopping=lambda: self.app.should_stop,
            sleep=self.app.sleep,
        )

    def in_background(self, send: Any) -> asyncio.Task[None]:
        """Run a send that nobody awaits."""
        task: asyncio.Task[None] = asyncio.ensure_future(send)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def drain(self) -> None:
        """Wait until everything sent so far is published or has failed."""
        for line in list(self._lines.values()):
            place = line.join()
            try:
                await place.reached()
            finally:
                place.leave()

    def cancel(self) -> None:
        """Abandon what was sent in the background."""
        for task in self._background:
            task.cancel()

    async def refuse_commit(self, source: EventT[Any], exc: S3Error) -> None:
        """See to it that the source of a message that was not sent is delivered again."""
        message = source.message
        logger.error(
            "a message sent while processing %s offset %s was not stored, so the worker "
            "stops and does not acknowledge that event: %s",
            message.tp,
            message.offset,
            exc,
        )

        async def refuse() -> None:
            raise ProducerSendError(str(exc)) from exc

        self.gate.before_commit(message, refuse)
        await self.crash(exc)

    async def crash(self, exc: BaseException) -> None:
        """Crash the app, after what was acknowledged before has been committed.

        A consumer whose thread has crashed answers no commit any more, and Faust would wait
        for the answer when it stops the worker. So there is one commit before the crash and
        none after it.
        """
        consumer = consumer_of(self.app)
        if consumer is not None and not self.app.should_stop:
            commits = self.in_background(commit_twice(consumer))
            await asyncio.wait({commits}, timeout=_LAST_COMMIT)
            self.gate.close(consumer.assignment(), str(exc))
        try:
            raise exc  # Faust logs the exception that is being handled
        except type(exc):
            await self.app.crash(exc)
