"""Dead letters: what is kept of a record that no agent got. Format: ``docs/dead-letters.md``.

Key, value and headers stay as they were; what we have to say stands in headers of our own
behind them.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Final, cast

from faust.types import Message

from faust_s3.exceptions import PermanentError
from faust_s3.internals import record_room

__all__ = ["Letter", "fitted", "letter_of", "receipt", "replayed_offset", "whole"]

#: A record's headers as Kafka has them: in order, a name may come twice, a value may be missing.
Headers = tuple[tuple[str, bytes | None], ...]

_PREFIX: Final = "faust_s3."
#: The first of our headers; those before its last occurrence are the record's own, and so a
#: dead letter may itself become one.
_MARK: Final = f"{_PREFIX}letter"
_VERSION: Final = b"1"
_RECEIPT: Final = f"{_PREFIX}replayed"
#: In place of headers that lie in the store.
_STORED_HEADERS: Final = f"{_PREFIX}headers"
_SIDES: Final = ("value", "key", "headers")
#: Bytes of UTF-8. A sentence has less; S3's own words may have more.
_MAX_REASON: Final = 1000

Load = Callable[[bytes], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Letter:
    """A record that no agent got, and why.

    Attributes:
        topic: Topic of the record.
        partition: Partition of the record.
        offset: Offset of the record.
        timestamp: Timestamp of the record, in milliseconds since 1970; ``None`` if it has none.
        key: Bytes of the key.
        value: Bytes of the value.
        headers: The record's own headers.
        error: Name of the error's class.
        reason: What the error says, at most 1000 bytes.
        bucket: Bucket of the object, if one is known.
        object_key: Key of the object, if one is known.
        app: Id of the app that could not redeem the claim.
        at: When that was, in UTC.
        stored: Which of key, value and headers were too much for a record of Kafka: in their
            place stand claims on where they lie.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers
    error: str
    reason: str
    bucket: str | None
    object_key: str | None
    app: str
    at: datetime
    stored: tuple[str, ...] = ()

    def dumps(self) -> Headers:
        """Return the headers of the dead letter; its key and value are the record's."""
        said = {
            "topic": self.topic,
            "partition": str(self.partition),
            "offset": str(self.offset),
            "timestamp": None if self.timestamp is None else str(self.timestamp),
            "error": self.error,
            "reason": self.reason,
            "bucket": self.bucket,
            "key": self.object_key,
            "app": self.app,
            "at": self.at.isoformat(timespec="milliseconds"),
            "stored": ",".join(self.stored) or None,
        }
        ours = ((_PREFIX + name, text.encode()) for name, text in said.items() if text is not None)
        return (*self.headers, (_MARK, _VERSION), *ours)

    @classmethod
    def loads(
        cls, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]
    ) -> Letter | None:
        """Read a record of a dead letter topic.

        Returns:
            ``None`` if it is no dead letter.

        Raises:
            ValueError: If it is one that this version cannot read.
        """
        pairs = tuple(headers)
        marks = [place for place, (name, _) in enumerate(pairs) if name == _MARK]
        if not marks:
            return None
        theirs, (_, version), ours = pairs[: marks[-1]], pairs[marks[-1]], pairs[marks[-1] + 1 :]
        if version != _VERSION:
            raise ValueError(f"version {version!r} of dead letters is unknown")
        said = {name.removeprefix(_PREFIX): (text or b"").decode() for name, text in ours}
        stored = tuple(filter(None, said.get("stored", "").split(",")))
        try:
            timestamp = said.get("timestamp")
            at = datetime.fromisoformat(said["at"])
            return cls(
                topic=said["topic"],
                partition=int(said["partition"]),
                offset=int(said["offset"]),
                timestamp=None if timestamp is None else int(timestamp),
                key=key,
                value=value,
                headers=theirs,
                error=said["error"],
                reason=said["reason"],
                bucket=said.get("bucket"),
                object_key=said.get("key"),
                app=said["app"],
                at=at if at.tzinfo else at.replace(tzinfo=timezone.utc),
                stored=stored,
            )
        except KeyError as exc:
            raise ValueError(f"the header {_PREFIX}{exc.args[0]} is missing") from None


def letter_of(message: Message, error: PermanentError, *, app: str) -> Letter:
    """Return the dead letter of a record.

    Args:
        message: The record, as it lies on its topic.
        error: Why its claim cannot be redeemed.
        app: Id of the app.
    """
    found: Any = message.headers or ()
    headers = found.items() if isinstance(found, Mapping) else found
    return Letter(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp=None if message.timestamp is None else round(message.timestamp * 1000),
        key=None if message.key is None else bytes(message.key),
        value=None if message.value is None else bytes(message.value),
        headers=tuple(headers),
        error=type(error).__name__,
        reason=error.reason.encode()[:_MAX_REASON].decode(errors="ignore"),
        bucket=error.bucket,
        object_key=error.key,
        app=app,
        at=datetime.now(timezone.utc),
    )


async def fitted(letter: Letter, *, limit: int, store: Load) -> Letter:
    """Return a letter that the producer takes.

    A record may fill the limit by itself, and we add to it. What does not fit goes to the store,
    the largest part first.

    Args:
        letter: The letter.
        limit: ``producer_max_request_size``, in bytes.
        store: Puts bytes into the store and returns their claim.

    Raises:
        S3Error: If the store does not take them.
    """
    while len(letter.value or b"") > record_room(limit, letter.key, cast(Any, letter.dumps())):
        sizes = {side: _size(letter, side) for side in _SIDES if side not in letter.stored}
        if not sizes:
            break  # Kafka's to refuse
        side = max(sizes, key=sizes.__getitem__)
        if side == "headers":
            claim = await store(_dump_headers(letter.headers))
            letter = replace(letter, headers=((_STORED_HEADERS, claim),))
        else:
            claim = await store(getattr(letter, side))
            letter = _with(letter, side, claim)
        letter = replace(letter, stored=(*letter.stored, side))
    return letter


async def whole(letter: Letter, load: Load) -> Letter:
    """Return a letter with key, value and headers as the record had them.

    Args:
        letter: The letter.
        load: Returns the bytes of a claim.

    Raises:
        S3Error: If they are not to be had.
    """
    for side in letter.stored:
        if side == "headers":
            letter = replace(letter, headers=_load_headers(await load(letter.headers[0][1] or b"")))
        else:
            letter = _with(letter, side, await load(getattr(letter, side)))
    return replace(letter, stored=())


def receipt(offset: int) -> Headers:
    """Return the headers, of a record with nothing else, that say that a letter was replayed.

    Args:
        offset: Of the letter, in the partition in which the receipt lies.
    """
    return ((_RECEIPT, str(offset).encode()),)


def replayed_offset(headers: Iterable[tuple[str, bytes | None]]) -> int | None:
    """Return the offset of the letter for which a record is the receipt, if it is one."""
    pairs = tuple(headers)
    if len(pairs) != 1 or pairs[0][0] != _RECEIPT or not (pairs[0][1] or b"").isdigit():
        return None
    return int(pairs[0][1] or b"")


def _with(letter: Letter, side: str, data: bytes) -> Letter:
    return replace(letter, key=data) if side == "key" else replace(letter, value=data)


def _size(letter: Letter, side: str) -> int:
    if side == "headers":
        return sum(len(name.encode()) + len(value or b"") for name, value in letter.headers)
    return len(getattr(letter, side) or b"")


def _dump_headers(headers: Headers) -> bytes:
    return json.dumps(
        [[name, None if value is None else b64encode(value).decode()] for name, value in headers]
    ).encode()


def _load_headers(data: bytes) -> Headers:
    return tuple(
        (name, None if value is None else b64decode(value)) for name, value in json.loads(data)
    )
