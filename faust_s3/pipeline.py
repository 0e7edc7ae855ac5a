"""Payload <-> claim, once for everybody: codec, topics, plain clients, tools.

Threshold, digest, key, put and get, verification, retry, single flight and cache are
decided here and nowhere else.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import TypeVar
from weakref import WeakKeyDictionary

from faust_s3.claim import Claim, Encoding, Inline, is_envelope, parse
from faust_s3.coding import compressed, decode, once, sha256_of
from faust_s3.compression import COMPRESSIONS, SUFFIXES, check_library
from faust_s3.config import DEFAULT_CONCURRENCY, Config
from faust_s3.exceptions import ClaimError, IntegrityError, PayloadTooLarge
from faust_s3.offloop import off_loop
from faust_s3.retry import FOREVER, Backoff, Outage, Patience, retrying
from faust_s3.sharing import ByteCache, RecentPuts, SingleFlight
from faust_s3.slots import Level, Slots
from faust_s3.stores.base import Location, Store
from faust_s3.streaming import PIECE, broken, ranges, verified
from faust_s3.upload import Source, aborting, upload_parts

__all__ = ["Pipeline", "reader_of"]

T = TypeVar("T")


class Pipeline:
    """Offloads payloads to one store and rehydrates claims from it.

    One instance serves any number of event loops; each has its own limits, downloads
    under way and cache.

    Args:
        config: The settings.
        store: Where payloads lie.

    Raises:
        ConfigError: If the library for ``compression`` is missing.
    """

    def __init__(self, config: Config, store: Store) -> None:
        self.config = config
        self.store = store
        self._compression = COMPRESSIONS.get(config.compression or "")
        if self._compression is not None:
            check_library(self._compression)
        self._backoff = Backoff(config.retry_base, config.retry_cap)
        self._outage = Outage(str(config.home))
        self._per_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _PerLoop] = WeakKeyDictionary()

    @property
    def busy(self) -> bool:
        """Whether requests of this event loop are under way, or wait to be tried again."""
        return bool(self._here().requests)

    @property
    def away(self) -> float:
        """Seconds since the store began not to answer, as far as it was asked; 0.0 if it does."""
        return self._outage.seconds

    def is_large(self, payload: bytes, *, room: int | None = None) -> bool:
        """Tell whether a payload has to go to the store.

        Args:
            payload: The serialized bytes.
            room: The most bytes that the producer takes for it, if that is known.
        """
        if len(payload) > self.config.threshold:
            return True
        return room is not None and bool(payload) and len(self.wrap(payload)) > room

    def wrap(self, payload: bytes) -> bytes:
        """Return what goes on the topic for a payload that stays inline.

        That is the payload itself, unless it could be taken for an envelope.
        """
        return Inline(len(payload), payload).dumps() if is_envelope(payload) else payload

    async def offload(
        self,
        payload: bytes,
        *,
        topic: str | None,
        partition: int | None = None,
        key: bytes | None = None,
        is_key: bool = False,
        room: int | None = None,
        patience: Patience = FOREVER,
    ) -> bytes:
        """Store a large payload and return its claim, or itself if it is small once compressed.

        What was stored in the same place within ``dedup_window`` is not stored again.

        Args:
            payload: The serialized bytes.
            topic: Topic that the claim is for, if known.
            partition: Partition, if the sender chose one.
            key: Message key, if there is one.
            is_key: The payload is itself a message key: its claim is the same for ever, and
                so it is not compressed.
            room: As for :meth:`is_large`.
            patience: How long to wait for a store that is away.

        Raises:
            PayloadTooLarge: If it has more than ``max_payload`` bytes.
            StoreUnavailable: When patience is at its end.
            PermanentError: If the store refuses.
        """
        if len(payload) > self.config.max_payload:
            raise PayloadTooLarge(
                f"the payload has more than max_payload={self.config.max_payload} bytes",
                topic=topic,
                size=len(payload),
            )
        stored, encoding = payload, Encoding.IDENTITY
        if not is_key and self._compression is not None:
            stored, encoding = await compressed(payload, self._compression)
            if encoding is not Encoding.IDENTITY:
                most = self.config.threshold if room is None else min(self.config.threshold, room)
                inline = Inline(len(payload), stored, encoding)
                if len(stored) < most and len(data := inline.dumps()) <= most:
                    return data
        digest = checksum = await sha256_of(payload)
        if is_key:
            path = self.config.keys.render_message_key(topic=topic, digest=digest.hex())
            location = Location(self.config.home.bucket, path)
        else:
            suffix = ""
            if encoding is not Encoding.IDENTITY:
                checksum = await sha256_of(stored)
                # Other stored bytes, other object: another setting, or another version of the
                # library, must not replace what older claims name.
                suffix = f"-{checksum.hex()[:8]}.{SUFFIXES[encoding]}"
            location = self._place(digest, topic=topic, partition=partition, key=key, suffix=suffix)
        claim = Claim(*location, len(payload), len(stored), digest, encoding).dumps()

        async def put(patience: Patience) -> None:
            await self._retrying(
                lambda: self.store.put(location, stored, sha256=checksum),
                patience,
                ("put", len(stored).bit_length()),
            )

        await self._here().puts.once(location, put, patience)
        return claim

    async def offload_from(
        self,
        source: Source,
        *,
        topic: str | None,
        partition: int | None = None,
        key: bytes | None = None,
        patience: Patience = FOREVER,
    ) -> bytes:
        """Store a payload while it is read, and return what goes on the topic for it.

        Args:
            source: The serialized bytes.
            topic: As for :meth:`offload`, like the next two.
            partition: Partition, if the sender chose one.
            key: Message key, if there is one.
            patience: How long each part waits for a store that is away.

        Raises:
            IntegrityError: If the source changed while it was read.
            S3Error: As :meth:`offload`.
        """
        few = max(PIECE, self.config.threshold + 1)
        payload = await source.peek(few)
        if len(payload) < few:  # that is all of it
            if not self.is_large(payload):
                return self.wrap(payload)
            return await self.offload(
                payload, topic=topic, partition=partition, key=key, patience=patience
            )
        del payload
        known = await source.measure(self.config.max_payload)
        size, digest = known or (None, None)
        location = self._place(digest, topic=topic, partition=partition, key=key)
        puts, began = self._here().puts, time.monotonic()
        if size is not None and digest is not None and puts.has(location):
            return Claim(*location, size, size, digest).dumps()
        upload = await self._retrying(
            lambda: self.store.open_upload(location, size=size), patience, "open_upload"
        )
        async with aborting(upload):
            found = await upload_parts(
                source,
                upload,
                lambda request: self._retrying(request, patience, "part"),
                max_size=self.config.max_payload,
            )
            if known not in (None, found):
                bucket, path = location
                raise IntegrityError(
                    "the source changed while it was read", bucket=bucket, key=path
                )
            await self._retrying(upload.finish, patience, "finish")
        size, digest = found
        if known is not None:
            puts.add(location, began)
        return Claim(*location, size, size, digest).dumps()

    def _place(
        self,
        digest: bytes | None,
        *,
        topic: str | None,
        partition: int | None,
        key: bytes | None,
        suffix: str = "",
    ) -> Location:
        path = self.config.keys.render(
            topic=topic,
            partition=partition,
            key=key,
            digest=None if digest is None else digest.hex(),
            now=datetime.now(timezone.utc),
            uuid=str(uuid.uuid4()),
            suffix=suffix,
        )
        return Location(self.config.home.bucket, path)

    def read(self, data: bytes) -> Claim | Inline | bytes:
        """Return the payload that stands in ``data``, or what :meth:`redeem` makes it of.

        That is the claim on where it lies, or the envelope that it is compressed in.

        Raises:
            ClaimError: If the envelope is malformed or names a place not allowed.
            PayloadTooLarge: If it is for more than ``max_payload`` bytes.
        """
        envelope = parse(data)
        if envelope is None:
            return data
        bucket = key = None
        if isinstance(envelope, Claim):
            bucket, key = envelope.bucket, envelope.key
            self.config.check_trusted(bucket, key)
        elif envelope.encoding is Encoding.IDENTITY:
            return envelope.stored
        if envelope.payload_size > self.config.max_payload:
            raise PayloadTooLarge(
                f"the claim is for more than max_payload={self.config.max_payload} bytes",
                bucket=bucket,
                key=key,
                size=envelope.payload_size,
            )
        return envelope

    async def redeem(
        self, content: Claim | Inline, *, patience: Patience = FOREVER, keep: bool = True
    ) -> bytes:
        """Return the payload of a claim, or of an envelope, that :meth:`read` returned.

        Two calls for one object at a time make one request.

        Args:
            content: What :meth:`read` returned.
            patience: How long to wait for a store that is away.
            keep: Whether others may want it soon.

        Raises:
            ObjectMissing: If the object is not there.
            IntegrityError: If its size or digest is not the claim's.
            StoreUnavailable: When patience is at its end.
            PermanentError: If the store refuses.
            ConfigError: If the library that decompresses it is missing.
        """
        if isinstance(content, Inline):
            return await off_loop(content.payload_size, lambda: decode(content, content.stored))
        here = self._here()
        if (payload := here.cache.get(content)) is not None:
            return payload
        payload = await here.flights.join(content, lambda: self._fetch(content, patience))
        if keep:
            here.cache.add(content, payload)
        return payload

    async def rehydrate(self, data: bytes, *, patience: Patience = FOREVER) -> bytes:
        """Return the payload behind bytes from a topic: :meth:`read`, then :meth:`redeem`."""
        payload = self.read(data)
        if isinstance(payload, bytes):
            return payload
        return await self.redeem(payload, patience=patience)

    async def stream(
        self, content: Claim | Inline, *, patience: Patience = FOREVER
    ) -> AsyncGenerator[bytes, None]:
        """Yield the payload of what :meth:`read` returned, in chunks.

        A few chunks are downloaded ahead. The last one comes once size and digest are those
        of the claim.

        Raises:
            S3Error: As :meth:`redeem`.
        """
        chunks = verified(content, self._stored(content, patience))
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    def _stored(self, content: Claim | Inline, patience: Patience) -> AsyncGenerator[bytes, None]:
        if isinstance(content, Inline):
            return once(content.stored)
        location = Location(content.bucket, content.key)
        return ranges(
            content,
            lambda start, stop: self._retrying(
                lambda: self.store.get_range(location, start, stop), patience, "get_range"
            ),
        )

    async def _fetch(self, claim: Claim, patience: Patience) -> bytes:
        location = Location(claim.bucket, claim.key)
        try:
            return await self._retrying(
                lambda: self.store.fetch(
                    location,
                    max_size=claim.stored_size,
                    decode=partial(decode, claim),
                    decoded_size=claim.payload_size,
                ),
                patience,
                ("get", claim.stored_size.bit_length()),
            )
        except PayloadTooLarge as exc:
            raise broken(claim, "the object is larger than the claim says") from exc

    async def _retrying(
        self, call: Callable[[], Awaitable[T]], patience: Patience, kind: Hashable
    ) -> T:
        here, mine = self._here(), object()
        here.requests.add(mine)
        try:
            return await retrying(
                lambda: here.slots.run(kind, call),
                backoff=self._backoff,
                patience=patience,
                outage=self._outage,
            )
        finally:
            here.requests.discard(mine)

    def _here(self) -> _PerLoop:
        loop = asyncio.get_running_loop()
        here = self._per_loop.get(loop)
        if here is None:
            for other in [other for other in self._per_loop if other.is_closed()]:
                del self._per_loop[other]
            here = self._per_loop[loop] = _PerLoop(
                slots=Slots(
                    Level(
                        self.config.min_concurrency or self.config.concurrency,
                        self.config.concurrency,
                        start=DEFAULT_CONCURRENCY,
                    )
                ),
                flights=SingleFlight(),
                cache=ByteCache(self.config.cache_bytes),
                puts=RecentPuts(self.config.dedup_window),
                requests=set(),
            )
        return here


@dataclass(frozen=True, slots=True)
class _PerLoop:
    slots: Slots
    flights: SingleFlight[Claim, bytes]
    cache: ByteCache[Claim]
    puts: RecentPuts[Location]
    requests: set[object]


def reader_of(
    pipelines: Iterable[Pipeline], data: bytes
) -> tuple[Pipeline, Claim | Inline | bytes]:
    """Read an envelope with the first pipeline that accepts it.

    Raises:
        ClaimError: If none does: the reason of the first one.
        PayloadTooLarge: Likewise.
    """
    first: ClaimError | PayloadTooLarge | None = None
    for pipeline in pipelines:
        try:
            return pipeline, pipeline.read(data)
        except (ClaimError, PayloadTooLarge) as exc:
            first = first or exc
    raise first or ClaimError("the claim cannot be redeemed: no store is configured")
