"""Whether the store lets a worker do its work, found out before it joins its group.

A few requests tell, and none of them leaves anything behind: reading an object that is not
there, or the first byte of one that is, and beginning and giving up a multipart upload.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

from faust import App

from faust_s3.codec import CodecOwner
from faust_s3.config import Config
from faust_s3.exceptions import (
    AccessDenied,
    BucketMissing,
    ConfigError,
    ObjectMissing,
    PermanentError,
    RequestRefused,
    S3Error,
)
from faust_s3.retry import FOREVER, Backoff, Outage, retrying
from faust_s3.stores.answers import ForeignAnswer
from faust_s3.stores.base import Location, Store
from faust_s3.topic import OffloadingTopic

__all__ = ["Needs", "check_store", "ending", "needs_of"]

logger = logging.getLogger(__name__)

#: Below the prefix, so that a policy for the prefix covers it. There never is such an object.
_NOWHERE: Final = "faust-s3-start-check"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a worker is known to do with its store.

    Attributes:
        reads: An agent or table gets claims.
        writes: A table or sink sends them. What agents send by themselves is not known.
    """

    reads: bool
    writes: bool


def needs_of(app: App, owner: CodecOwner) -> Needs:
    """Find out what an app does with one of its stores."""
    agents = list(app.agents.values())
    tables = any(_offloads(table.changelog_topic, owner) for table in app.tables.values())
    return Needs(
        reads=tables or any(_offloads(agent.channel, owner) for agent in agents),
        writes=tables
        or any(_offloads(sink, owner) for agent in agents for sink in cast(Any, agent)._sinks),
    )


def _offloads(channel: Any, owner: CodecOwner) -> bool:
    if not isinstance(channel, OffloadingTopic):
        return False
    return owner in (channel.opt_in.key, channel.opt_in.value)


async def check_store(store: Store, config: Config, needs: Needs) -> None:
    """Ask the store for what the worker will ask it for.

    While it is away it is asked again and again, and the log says so now and then.

    Whoever only reads need not be allowed to write, nor the other way round: what is refused
    and not known to be needed is only told to the log.

    Args:
        store: The store.
        config: Its settings.
        needs: What the worker does with it.

    Raises:
        ConfigError: In one sentence, if the store refuses; it names the setting.
    """
    outage = Outage(str(config.home), meanwhile="the worker waits before it joins its group")
    backoff = Backoff(config.retry_base, config.retry_cap)

    async def ask() -> tuple[_Refusal | None, _Refusal | None]:
        try:
            return await _reading(store, config), await _writing(store, config)
        except (PermanentError, ConfigError, ForeignAnswer) as exc:
            raise ConfigError(f"{_blame(exc, config)}: {exc.reason}") from exc

    reading, writing = await retrying(ask, backoff=backoff, patience=FOREVER, outage=outage)
    _judge(reading, writing, needs, config)


def _judge(
    reading: _Refusal | None, writing: _Refusal | None, needs: Needs, config: Config
) -> None:
    place = f"{_given(config)} must name a place where the credentials that boto3 finds may"
    if reading and writing and not reading.let_in:
        raise ConfigError(
            f"{place} write (s3:PutObject), or read and list (s3:GetObject, s3:ListBucket): "
            f"{writing.said}"
        )
    if writing and needs.writes:
        raise ConfigError(
            f"{place} write, for this worker sends claims (s3:PutObject): {writing.said}"
        )
    if reading and reading.sure and needs.reads:
        raise ConfigError(
            f"{place} read, for this worker gets claims (s3:GetObject): {reading.said}"
        )
    if writing:
        logger.info("%s: this worker may not write there: %s", config.home, writing.said)
    if reading and not reading.sure and needs.reads:
        logger.warning(
            "%s: whether this worker may read there is not known, since it may not list the "
            "bucket (s3:ListBucket) or nothing is there yet: %s",
            config.home,
            reading.said,
        )
    elif reading:
        logger.info("%s: this worker may not read there: %s", config.home, reading.said)


@contextmanager
def ending(app: App) -> Iterator[None]:
    """End a worker that cannot start, with one sentence in the log and exit code 1.

    Faust and mode would log a traceback with an exception (``mode/worker.py``,
    ``Worker.execute_from_commandline`` of 0.7.1); ``SystemExit`` has them stop the worker. An app
    that is not in a worker gets the exception.
    """
    try:
        yield
    except S3Error as exc:
        if not app.in_worker:
            raise
        logger.error("the worker does not start: %s", exc)  # noqa: TRY400 - without traceback
        raise SystemExit(1) from None


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What the store said.

    Attributes:
        said: In its words.
        sure: Whether it is a matter of permission, and not of an object that is not there.
        let_in: Whether another request was allowed.
    """

    said: str
    sure: bool = True
    let_in: bool = False


async def _reading(store: Store, config: Config) -> _Refusal | None:
    bucket, below = config.home.bucket, _below(config)
    try:
        await store.get_range(Location(bucket, below + _NOWHERE), 0, 1)
    except ObjectMissing:
        return None
    except AccessDenied as exc:
        said = exc.reason
    else:
        return None
    # To whoever may not list the bucket S3 says the same of an object that is not there.
    try:
        async with aclosing(cast(Any, store.list(bucket, below))) as found:
            place = await anext((info.location async for info in found), None)
    except AccessDenied:
        return _Refusal(said, sure=False)
    if place is None:
        return _Refusal(said, sure=False, let_in=True)
    try:
        await store.get_range(place, 0, 1)
    except AccessDenied as exc:
        return _Refusal(exc.reason)
    except (ObjectMissing, RequestRefused):
        pass  # gone or archived, but we were let in
    return None


async def _writing(store: Store, config: Config) -> _Refusal | None:
    place = Location(config.home.bucket, _below(config) + _NOWHERE)
    try:
        upload = await store.open_upload(place)
    except AccessDenied as exc:
        return _Refusal(exc.reason)
    await upload.abort()
    return None


def _below(config: Config) -> str:
    return f"{config.home.prefix}/" if config.home.prefix else ""


def _blame(exc: S3Error, config: Config) -> str:
    """Say which setting is wrong, and the rule."""
    if isinstance(exc, BucketMissing):
        return f"{_given(config)} must name a bucket that is there"
    # An upload cannot begin for want of an object.
    if isinstance(exc, ObjectMissing | ForeignAnswer):
        return f"{_given(config)} must name an S3 server"
    names = ("region", "profile", "sse", "sse_kms_key_id")
    given = [f"{name} {value!r}" for name in names if (value := getattr(config, name)) is not None]
    return f"{', '.join([*given, _given(config)])} must fit the store"


def _given(config: Config) -> str:
    url = f"url {config.url!r}"
    return f"{url} at endpoint_url {config.endpoint_url!r}" if config.endpoint_url else url
