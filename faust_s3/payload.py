"""Values that an agent gets without their bytes, and loads when it wants them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from copy import copy
from hashlib import sha256
from typing import Any, Generic, NoReturn, TypeVar
from weakref import WeakKeyDictionary

from faust.types import Message

from faust_s3.claim import Claim, Inline
from faust_s3.exceptions import S3Error
from faust_s3.pipeline import Pipeline
from faust_s3.retry import Patience
from faust_s3.streaming import digest_of

__all__ = ["Payload", "record_of"]

T = TypeVar("T")

#: The records whose payloads could not be loaded, for as long as somebody has the error.
_records: WeakKeyDictionary[S3Error, Message] = WeakKeyDictionary()


class Payload(Generic[T]):
    """A value that is not here yet.

    Agents with ``@s3.rehydrate(lazy=True)`` get one for each value, and ``s3.upload``
    returns one. Sent to a topic that offloads, it passes on what it stands for. It holds no
    more than lay on the topic, also after :meth:`load`.

    Args:
        wire: What stands for it on a topic.
        content: The claim, or the payload itself if that lay on the topic, compressed or not.
        key: The record's key.
        headers: The record's headers.
        pipeline: For claims.
        patience: How long to wait for a store that is away.
        decode: Makes the value of the payload.
        record: The record, if it came from a topic.

    Attributes:
        key: The record's key, decoded as the topic says.
        headers: The record's headers.
        claim: Where the payload lies; ``None`` if it lay on the topic.

    Example:
        >>> @app.agent(photos)
        ... @s3.rehydrate(lazy=True)
        ... async def thumbnails(stream: faust.Stream[Payload[Photo]]) -> None:
        ...     async for payload in stream:
        ...         if payload.size < 10_000_000:
        ...             photo = await payload.load()
    """

    __slots__ = ("_content", "_decode", "_patience", "_pipeline", "_record", "_wire",
                 "claim", "headers", "key")  # fmt: skip

    def __init__(
        self,
        wire: bytes,
        content: Claim | Inline | bytes,
        *,
        key: Any,
        headers: Mapping[str, bytes],
        pipeline: Pipeline,
        patience: Patience,
        decode: Callable[[bytes], Awaitable[T]],
        record: Message | None = None,
    ) -> None:
        self._wire = wire
        self._content = content
        self._pipeline = pipeline
        self._patience = patience
        self._decode = decode
        self._record = record
        self.key = key
        self.headers = headers
        self.claim = content if isinstance(content, Claim) else None

    def __repr__(self) -> str:
        where = "inline" if self.claim is None else f"s3://{self.claim.bucket}/{self.claim.key}"
        return f"<{type(self).__name__}: {self.size} bytes, {where}>"

    @property
    def size(self) -> int:
        """Bytes of the payload."""
        content = self._content
        return len(content) if isinstance(content, bytes) else content.payload_size

    @property
    def digest(self) -> bytes:
        """SHA-256 of the payload, 32 bytes. Computed each time if it lay on the topic.

        Raises:
            ClaimError: If it lay there compressed, and is damaged.
        """
        content = self._content
        if isinstance(content, Inline):
            return digest_of(content)
        return content.sha256 if isinstance(content, Claim) else sha256(content).digest()

    @property
    def wire(self) -> bytes:
        """What stands for the payload on a topic: its claim, or itself."""
        return self._wire

    async def load(self) -> T:
        """Return the value. To load it again downloads it again, unless it is in the cache.

        Waits while the store is away, until the app stops.

        Raises:
            ObjectMissing: If the object is not there.
            IntegrityError: If its size or digest is not the claim's.
            StoreUnavailable: If the store is away and the app stops.
            PermanentError: If the store refuses.
            ValueDecodeError: If the payload is whole and cannot be decoded.
        """
        content = self._content
        if not isinstance(content, bytes):
            with self._telling_where():
                content = await self._pipeline.redeem(content, patience=self._patience)
        return await self._decode(content)

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the payload's bytes in chunks; a few are downloaded ahead.

        The last chunk comes once size and digest were found right: what came before is not
        verified until then. A connection that breaks is taken up where it broke.

        Raises:
            S3Error: As :meth:`load`.
        """
        content = self._content
        if isinstance(content, bytes):
            if content:
                yield content
            return
        chunks = self._pipeline.stream(content, patience=self._patience)
        async with aclosing(chunks):
            with self._telling_where():
                async for chunk in chunks:
                    yield chunk

    @contextmanager
    def _telling_where(self) -> Iterator[None]:
        try:
            yield
        except S3Error as exc:
            if (record := self._record) is None:
                raise
            # A copy, because loads of one object by several records share the error.
            told = copy(exc).at(
                topic=record.topic, partition=record.partition, offset=record.offset
            )
            _records[told] = record
            raise told from exc

    def _refuse(self, *args: Any) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot be serialized: send it to a topic that offloads its values, "
            "or send what load() returns"
        )

    __json__ = __reduce__ = __reduce_ex__ = _refuse


def record_of(exc: S3Error) -> Message | None:
    """Return the record whose payload could not be loaded, if that was the error."""
    return _records.get(exc)
