"""Dealing with a record whose claim can never be redeemed, as the policy says."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from faust.types import Message

from faust_s3.exceptions import PermanentError
from faust_s3.hub import Hub
from faust_s3.letters import fitted, letter_of
from faust_s3.policy import OnBadClaim, decide

__all__ = ["dead_letter_topic", "disposed_of"]

logger = logging.getLogger(__name__)


def dead_letter_topic(hub: Hub) -> str:
    """Return the name of the topic on which an app's dead letters lie."""
    return hub.default_owner.pipeline.config.dead_letter_topic or f"{hub.app.conf.id}-dead-letters"


async def disposed_of(
    hub: Hub, policy: OnBadClaim, message: Message, error: PermanentError
) -> BaseException | None:
    """Deal with a record whose claim can never be redeemed.

    Until it is dealt with, and for ever if it is not, no commit passes by the record: other
    agents on the topic go on meanwhile. If this is cancelled, dealing with it goes on, and the
    record is delivered again.

    Args:
        hub: Of the app.
        policy: The agent's.
        message: The record, as it lies on the topic.
        error: Why its claim cannot be redeemed, with the record's coordinates.

    Returns:
        ``None`` once the record may be acknowledged; else why the worker has to stop.
    """
    disposing = hub.in_background(_dispose(hub, policy, message, error))
    disposing.add_done_callback(_failure)  # somebody has looked at it
    hub.commits.hold([(message.tp, message.offset)], disposing)
    await asyncio.wait({disposing})
    if disposing.cancelled():
        return error  # the app stops
    failure = _failure(disposing)
    if failure is not None and failure is not error:
        logger.error("a record whose claim cannot be redeemed was not dealt with: %s", error)
        failure.__cause__ = failure.__cause__ or error
    return failure


async def _dispose(hub: Hub, policy: OnBadClaim, message: Message, error: PermanentError) -> None:
    verdict = await decide(policy, message, error)
    topic = dead_letter_topic(hub)
    if verdict == "skip":
        logger.error("skipped a record whose claim cannot be redeemed: %s", error)
    elif verdict == "raise" or message.topic == topic:  # a dead letter would come back for ever
        raise error
    else:
        await _post(hub, topic, message, error)
        logger.error("put a record whose claim cannot be redeemed on topic %s: %s", topic, error)


async def _post(hub: Hub, topic: str, message: Message, error: PermanentError) -> None:
    """Return when Kafka has the dead letter."""
    app: Any = hub.app
    pipeline = hub.default_owner.pipeline
    letter = await fitted(
        letter_of(message, error, app=app.conf.id),
        limit=app.conf.producer_max_request_size,
        store=partial(pipeline.offload, topic=topic, patience=hub.patience(pipeline, forever=True)),
    )
    if topic not in hub.declared:
        await app.topic(topic, key_serializer="raw", value_serializer="raw").maybe_declare()
        hub.declared.add(topic)
    # Its own timestamp: by that of the record, Kafka might delete it before anybody has looked.
    await app.producer.send_and_wait(
        topic, letter.key, letter.value, None, None, list(letter.dumps())
    )


def _failure(disposing: asyncio.Task[None]) -> BaseException | None:
    return None if disposing.cancelled() else disposing.exception()
