"""What of an app does not fit together, told before it starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from faust import App
from faust.types import ChannelT, TopicT

from faust_s3.codec import find_codec
from faust_s3.config import Config
from faust_s3.exceptions import ConfigError
from faust_s3.internals import record_room
from faust_s3.topic import OffloadingTopic

__all__ = ["check_threshold", "check_topics", "declared_topics"]


def check_threshold(app: App, config: Config) -> None:
    """Refuse a threshold that Kafka's limit does not reach.

    Raises:
        ConfigError: If there are records that are small for S3 and large for Kafka.
    """
    limit = app.conf.producer_max_request_size
    if record_room(limit, None, None) < config.threshold:
        raise ConfigError(
            f"threshold {config.threshold} leaves records that are neither large "
            "enough for S3 nor small enough for Kafka: it must be below "
            f"producer_max_request_size {limit} less {-record_room(0, None, None)} bytes"
        )


def declared_topics(app: App) -> list[ChannelT[Any]]:
    """Return what the app's agents and tables read, also before they start."""
    return [agent.channel for agent in app.agents.values()] + [
        table.changelog_topic for table in app.tables.values()
    ]


def check_topics(channels: Iterable[ChannelT[Any]]) -> None:
    """Refuse topics whose claims somebody would read as values.

    Raises:
        ConfigError: If a topic names the codec but cannot know of it, or has readers of both
            kinds.
    """
    opted: dict[str, bool] = {}
    for topic in channels:
        if not isinstance(topic, TopicT):
            continue
        aware = isinstance(topic, OffloadingTopic)
        if not aware and _names_codec(topic):
            raise ConfigError(
                f"topic {topic!s} names an S3 codec but was made before S3(app): "
                "make S3(app) first, or use s3.offload(topic)"
            )
        reads = aware and bool(cast(OffloadingTopic, topic).opt_in)
        for name in topic.topics:
            if opted.setdefault(name, reads) is not reads:
                raise ConfigError(
                    f"topic {name!r} is read both with and without offloading; "
                    "all its readers in one app must name the codec, or none"
                )


def _names_codec(topic: Any) -> bool:
    return any(
        find_codec(serializer) is not None
        for serializer in (topic.key_serializer, topic.value_serializer)
    )
