"""What readers make of bytes, and what they may make of them."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from hashlib import sha256
from random import Random

from faust_s3.blocking import BlockingPipeline
from faust_s3.claim import MAGIC, Claim, Inline, parse
from faust_s3.codec import BoundCodec, CodecOwner
from faust_s3.config import Config
from faust_s3.exceptions import (
    ClaimError,
    IntegrityError,
    ObjectMissing,
    PayloadTooLarge,
    S3Error,
)
from faust_s3.pipeline import Pipeline
from faust_s3.stores import Location, MemoryStore
from fuzz.mutations import STORED, mutated

__all__ = ["Readers", "Surprise", "outcomes"]

#: Bytes. Above the objects that there are, below many sizes that envelopes claim.
MAX_PAYLOAD = 2**21


class Surprise(AssertionError):
    """A reader did what it may not do.

    Args:
        data: With these bytes.
        what: What it did.
    """

    def __init__(self, data: bytes, what: str) -> None:
        super().__init__(f"{what}: {data.hex()}")


class Readers(CodecOwner):
    """The parser of envelopes and a codec on a store with a few objects."""

    def __init__(self) -> None:
        store = MemoryStore()
        for claim, payload in STORED.items():
            asyncio.run(store.put(Location(claim.bucket, claim.key), payload))
        self.name = "fuzzed"
        self.config = Config(
            url="s3://my-bucket/photos", allow=("s3://b/-",), max_payload=MAX_PAYLOAD
        )
        self.pipeline = Pipeline(self.config, store)
        self.blocking = BlockingPipeline(self.pipeline)
        self.codec = BoundCodec(owner=self)
        self.places = {(claim.bucket, claim.key) for claim in STORED}

    def read(self, data: bytes) -> str:
        """Give bytes to both readers, and return what they make of them.

        Raises:
            Surprise: If it is not what the wire format and the pipeline promise.
        """
        try:
            envelope = parse(data)
        except ClaimError as exc:
            self._check_codec(data, ClaimError)
            return f"ClaimError: {_sentence(exc)}"
        except BaseException as exc:
            raise Surprise(data, f"parse raised {exc!r}") from exc
        if envelope is None:
            if data.startswith(MAGIC):
                raise Surprise(data, "parse took an envelope for a payload")
            self._check_codec(data, data)
            return "payload: the bytes as they are"
        if envelope.dumps() != data:
            raise Surprise(data, "parse read a spelling that nobody writes")
        if isinstance(envelope, Inline) and envelope.encoding:
            return self._decompressed(data, envelope)
        if isinstance(envelope, Inline):
            if len(envelope.stored) != envelope.payload_size:
                raise Surprise(data, "parse read an inline envelope whose size lies")
            self._check_codec(data, envelope.stored)
            return "payload: inline"
        return self._redeemed(data, envelope)

    def _decompressed(self, data: bytes, inline: Inline) -> str:
        if inline.payload_size > MAX_PAYLOAD:
            self._check_codec(data, PayloadTooLarge)
            return "PayloadTooLarge: an inline envelope for more than max_payload"
        try:
            found: bytes = self.codec.loads(data)
        except ClaimError:
            return "ClaimError: the inline envelope is malformed"
        except BaseException as exc:
            raise Surprise(data, f"codec.loads raised {exc!r}") from exc
        if len(found) != inline.payload_size:
            raise Surprise(data, "codec.loads decompressed another size")
        return "payload: inline, decompressed"

    def _redeemed(self, data: bytes, claim: Claim) -> str:
        if not _trusted(claim):
            exc = self._check_codec(data, ClaimError)
            return f"ClaimError: {_sentence(exc)}"
        if claim.payload_size > MAX_PAYLOAD:
            self._check_codec(data, PayloadTooLarge)
            return "PayloadTooLarge: a claim for more than max_payload"
        if (claim.bucket, claim.key) not in self.places:
            self._check_codec(data, ObjectMissing)
            return "ObjectMissing: a claim on an object that is not there"
        if claim not in STORED:
            self._check_codec(data, IntegrityError)
            return "IntegrityError: a claim with another size or digest than its object"
        self._check_codec(data, STORED[claim])
        return "payload: the object's"

    def _check_codec(self, data: bytes, expected: bytes | type[S3Error]) -> BaseException | None:
        try:
            found: bytes = self.codec.loads(data)
        except BaseException as exc:
            if type(exc) is not expected:
                raise Surprise(data, f"codec.loads raised {exc!r}") from exc
            return exc
        if not isinstance(expected, bytes) or sha256(found).digest() != sha256(expected).digest():
            raise Surprise(data, f"codec.loads returned {found[:50]!r}")
        return None


def outcomes(readers: Readers, seed: str, count: int) -> Counter[str]:
    """Read so many mutated envelopes; the same seed brings the same ones.

    Raises:
        Surprise: At the first one that is read as it may not be.
    """
    random = Random(seed)
    return Counter(readers.read(mutated(random)) for _ in range(count))


def _trusted(claim: Claim) -> bool:
    # Written out, and not asked of the configuration: it is what is being tried.
    bucket, segments = claim.bucket, claim.key.split("/")
    if "." in segments or ".." in segments or len(segments) < 2:
        return False
    return (bucket, segments[0]) in {("my-bucket", "photos"), ("b", "-")}


def _sentence(exc: BaseException | None) -> str:
    assert isinstance(exc, ClaimError)
    return re.sub(r"0x[0-9a-f]+|\d+", "N", exc.reason.split(" s3://")[0])
