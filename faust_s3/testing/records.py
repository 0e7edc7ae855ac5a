"""Records as the test looks at them: decoded and whole, or by their claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import faust

from faust_s3.claim import Claim, Inline, parse
from faust_s3.codec import within_topic
from faust_s3.exceptions import ClaimError, ObjectMissing
from faust_s3.hub import OptIn
from faust_s3.stores.base import Location
from faust_s3.testing.broker import Record
from faust_s3.testing.transport import message_of

__all__ = ["Offloaded", "Sent", "claims_in", "decoded"]

Objects = Mapping[Location, bytes]


class Sent(NamedTuple):
    """A record as an agent on its topic gets it.

    Attributes:
        key: The key.
        value: The value, whole.
        headers: The headers, by name.
    """

    key: Any
    value: Any
    headers: dict[str, bytes]


class Offloaded(NamedTuple):
    """A payload that lies in the store, and whose claim lies on a topic.

    Attributes:
        topic: Topic name.
        key: The bytes of the record's key; those of the claim, if the key was offloaded.
        location: Place of the object.
        size: Bytes of the payload.
    """

    topic: str
    key: bytes | None
    location: Location
    size: int


def decoded(record: Record, topic: faust.Topic, objects: Objects) -> Sent:
    """Return a record as agents on a topic get it.

    Raises:
        ClaimError: If an envelope is malformed.
        ObjectMissing: If a payload is not there.
        KeyDecodeError: If the key is not what the topic's serializers write.
        ValueDecodeError: If the value is not.
    """
    opt_in: OptIn = getattr(topic, "opt_in", OptIn())
    message = message_of(record)
    if opt_in.key is not None:
        message.key = _whole(record.key, objects)
    if opt_in.value is not None:
        message.value = _whole(record.value, objects)
    schema: Any = topic.schema
    with within_topic():
        return Sent(
            None if message.key is None else schema.loads_key(topic.app, message),
            None if message.value is None else schema.loads_value(topic.app, message),
            dict(record.headers),
        )


def claims_in(record: Record) -> Iterator[Offloaded]:
    """Yield what was offloaded of a record."""
    for data in (record.key, record.value):
        try:
            envelope = parse(data) if data is not None else None
        except ClaimError:
            continue  # nothing of ours
        if isinstance(envelope, Claim):
            location = Location(envelope.bucket, envelope.key)
            yield Offloaded(record.topic, record.key, location, envelope.payload_size)


def _whole(data: bytes | None, objects: Objects) -> bytes | None:
    envelope = None if data is None else parse(data)
    if isinstance(envelope, Inline):
        return envelope.stored
    if not isinstance(envelope, Claim):
        return data
    location = Location(envelope.bucket, envelope.key)
    if location not in objects:
        raise ObjectMissing("there is no such object", bucket=location.bucket, key=location.key)
    return objects[location]
