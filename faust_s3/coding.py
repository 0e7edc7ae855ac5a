"""Payloads to stored bytes and back, in a thread where that takes long."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from hashlib import sha256

from faust_s3.claim import Claim, Encoding, Inline
from faust_s3.compression import Broken, compress, decoder
from faust_s3.offloop import off_loop
from faust_s3.streaming import broken

__all__ = ["compressed", "decode", "once", "sha256_of"]


async def sha256_of(data: bytes) -> bytes:
    """Return the SHA-256."""
    return await off_loop(len(data), lambda: sha256(data).digest())


async def compressed(payload: bytes, encoding: Encoding) -> tuple[bytes, Encoding]:
    """Return what is stored for a payload, and how: as it is, if it gets no smaller."""
    stored = await off_loop(len(payload), lambda: compress(payload, encoding))
    return (payload, Encoding.IDENTITY) if stored is None else (stored, encoding)


def decode(content: Claim | Inline, stored: bytes) -> bytes:
    """Return the payload of stored bytes, verified. Takes long if there are many.

    Raises:
        IntegrityError: If they are not those of a claim.
        ClaimError: If an envelope is damaged.
    """
    if isinstance(content, Claim) and len(stored) != content.stored_size:
        raise broken(content, f"the object has {len(stored)} bytes, not what the claim says")
    try:
        payload = decoder(content.encoding, content.payload_size).all_of(stored)
    except Broken as exc:
        raise broken(content, f"the stored bytes {exc}") from exc
    if isinstance(content, Claim) and sha256(payload).digest() != content.sha256:
        raise broken(content, "the object's SHA-256 is not the one in the claim")
    return payload


async def once(stored: bytes) -> AsyncGenerator[bytes, None]:
    """Yield stored bytes that are here already."""
    yield stored
