"""Payloads that are read piece by piece: ranges on their way, decoding, verification."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from hashlib import sha256
from itertools import islice
from typing import Final

from faust_s3.claim import Claim, Inline
from faust_s3.compression import Broken, decoder
from faust_s3.exceptions import ClaimError, IntegrityError, PermanentError

__all__ = ["PIECE", "RANGES_AT_ONCE", "broken", "digest_of", "ranges", "verified"]

#: Bytes of one request of a payload that is not held whole: about what one connection to
#: S3 carries in 0.1 s, and a payload of so many bytes is nothing to worry about.
PIECE: Final = 8 * 2**20
#: Enough to fill a link; with the piece that is being looked at, these are what memory holds.
RANGES_AT_ONCE: Final = 4


async def ranges(
    claim: Claim, get: Callable[[int, int], Awaitable[bytes]]
) -> AsyncGenerator[bytes, None]:
    """Yield the stored bytes of an object; a few requests are under way ahead.

    Args:
        claim: Of the object.
        get: Returns the bytes from one position to another.

    Raises:
        IntegrityError: If there are not as many as the claim says.
    """
    size, position = claim.stored_size, 0

    def download(start: int) -> asyncio.Future[bytes]:
        # One byte more than there is tells whether the object is larger.
        stop = start + PIECE if start + PIECE < size else size + 1
        return asyncio.ensure_future(get(start, stop))

    starts = iter(range(0, max(size, 1), PIECE))
    ahead = deque(map(download, islice(starts, RANGES_AT_ONCE)))
    try:
        while ahead:
            chunk = await ahead[0]
            del ahead[0]
            expected = min(PIECE, size - position)
            position += len(chunk)
            if len(chunk) != expected:
                raise broken(claim, "the object has not as many bytes as the claim says")
            ahead.extend(map(download, islice(starts, 1)))
            yield chunk
    finally:
        for request in ahead:
            request.cancel()
        await asyncio.gather(*ahead, return_exceptions=True)


async def verified(
    content: Claim | Inline, stored: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """Yield the payload of stored bytes; the last piece once all of it was found right.

    Args:
        content: What the envelope says of it.
        stored: The stored bytes.

    Raises:
        IntegrityError: If an object is not the one that was offloaded.
        ClaimError: If an envelope's own bytes are not what it says.
    """
    size, position, digest = content.payload_size, 0, sha256()
    decoding = decoder(content.encoding, size)

    def step() -> bytes:
        piece = decoding.take(PIECE)
        digest.update(piece)
        return piece

    last = b""
    try:
        async with aclosing(stored):
            async for chunk in stored:
                decoding.feed(chunk)
                while piece := await asyncio.to_thread(step):
                    position += len(piece)
                    if position == size:
                        last = piece
                    else:
                        yield piece
        decoding.finish()
    except Broken as exc:
        raise broken(content, f"the stored bytes {exc}") from exc
    if isinstance(content, Claim) and digest.digest() != content.sha256:
        raise broken(content, "the object's SHA-256 is not the one in the claim")
    if last:
        yield last


def digest_of(inline: Inline) -> bytes:
    """Return the SHA-256 of a payload that lies in its envelope, without holding it whole.

    Raises:
        ClaimError: If the envelope's bytes are not what it says.
    """
    decoding, digest = decoder(inline.encoding, inline.payload_size), sha256()
    try:
        decoding.feed(inline.stored)
        while piece := decoding.take(PIECE):
            digest.update(piece)
        decoding.finish()
    except Broken as exc:
        raise broken(inline, f"the stored bytes {exc}") from exc
    return digest.digest()


def broken(content: Claim | Inline, reason: str) -> PermanentError:
    """Return the error of a payload that is not the one that was offloaded."""
    if isinstance(content, Inline):
        return ClaimError(f"the inline envelope is malformed: {reason}", size=content.payload_size)
    return IntegrityError(reason, bucket=content.bucket, key=content.key, size=content.payload_size)
