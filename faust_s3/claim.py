"""The envelope on the wire, version 1. Byte by byte: ``docs/wire-format.md``.

Pure: bytes in, values out. A reader accepts every version ever released and guesses
nothing; a writer writes the newest one.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from faust_s3.exceptions import ClaimError

__all__ = [
    "MAGIC",
    "MAX_ENVELOPE_SIZE",
    "Claim",
    "Encoding",
    "Envelope",
    "Inline",
    "is_envelope",
    "parse",
]

#: No UTF-8 text starts with 0xC1 (RFC 3629, section 1), and MessagePack never uses it.
MAGIC: Final = b"\xc1fS3"
VERSION: Final = 1

_KIND_CLAIM: Final = 1
_KIND_INLINE: Final = 2
_FLAG_DIGEST_IN_KEY: Final = 0x01

_PREFIX_SIZE: Final = 8  # magic, version, kind, flags, encoding
_DIGEST_SIZE: Final = 32  # SHA-256, FIPS 180-4
_HOLE: Final = "\0"  # where the digest's hexadecimal digits were cut out of the key

#: S3 bucket names have 3 to 63 characters; up to 255 before March 2018 (us-east-1).
_MAX_BUCKET: Final = 255
#: S3 object keys have at most 1024 bytes of UTF-8.
_MAX_KEY: Final = 1024
#: Sizes have at most 63 bits: nine groups of seven.
_MAX_VARINT: Final = 9

#: No claim is longer than this many bytes. Inline envelopes are bounded by their record.
MAX_ENVELOPE_SIZE: Final = (
    _PREFIX_SIZE + 2 * _MAX_VARINT + _DIGEST_SIZE + 2 + _MAX_BUCKET + 2 + _MAX_KEY
)


class Encoding(enum.IntEnum):
    """How the stored bytes represent the payload."""

    IDENTITY = 0
    GZIP = 1  # RFC 1952, one member
    ZSTD = 2  # RFC 8878, one frame without a dictionary


class Envelope(bytes):
    """Bytes that came from a topic as an envelope.

    They stay one when they are sent on: ``event.forward`` and everything built on it
    passes the claim along instead of wrapping or uploading it again.

    Attributes:
        payload: What a key stands for, once it is known: that decides its partition.
    """

    payload: bytes | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What stands on the topic for a payload that lies in the store.

    Attributes:
        bucket: Bucket of the object.
        key: Key of the object.
        payload_size: Bytes of the payload.
        stored_size: Bytes of the object.
        sha256: SHA-256 of the payload, 32 bytes.
        encoding: How the object represents the payload.
    """

    bucket: str
    key: str
    payload_size: int
    stored_size: int
    sha256: bytes
    encoding: Encoding = Encoding.IDENTITY

    def dumps(self) -> bytes:
        """Return the envelope.

        Raises:
            ClaimError: If a field is out of its bounds.
        """
        key, flags = _cut_digest(self.key, self.sha256)
        envelope = b"".join(
            (
                MAGIC,
                bytes((VERSION, _KIND_CLAIM, flags, self.encoding)),
                _dump_varint(self.payload_size),
                _dump_varint(self.stored_size),
                self.sha256,
                _dump_text(self.bucket),
                _dump_text(key),
            )
        )
        if parse(envelope) != self:  # one set of rules, the reader's
            raise ClaimError("the claim's digest is not the one that its key repeats")
        return envelope


@dataclass(frozen=True, slots=True)
class Inline:
    """A payload that travels in the envelope itself.

    Attributes:
        payload_size: Bytes of the payload.
        stored: The payload in its encoding.
        encoding: How ``stored`` represents the payload.
    """

    payload_size: int
    stored: bytes
    encoding: Encoding = Encoding.IDENTITY

    def dumps(self) -> bytes:
        """Return the envelope."""
        return b"".join(
            (
                MAGIC,
                bytes((VERSION, _KIND_INLINE, 0, self.encoding)),
                _dump_varint(self.payload_size),
                self.stored,
            )
        )


def is_envelope(data: bytes | None) -> bool:
    """Tell whether bytes from a topic are one of our envelopes, well-formed or not."""
    return data is not None and data.startswith(MAGIC)


def parse(data: bytes) -> Claim | Inline | None:
    """Read an envelope.

    Args:
        data: A key or a value from a topic.

    Returns:
        ``None`` if the bytes do not begin with the magic: they are the payload.

    Raises:
        ClaimError: If they do, and are not exactly one envelope that this version knows.
    """
    if not is_envelope(data):
        return None
    if len(data) < _PREFIX_SIZE:
        raise ClaimError("the envelope is cut short", size=len(data))
    version, kind, flags, encoding_number = data[4:_PREFIX_SIZE]
    if version != VERSION:
        raise ClaimError(f"envelope version {version} is unknown; this reader knows {VERSION}")
    try:
        encoding = Encoding(encoding_number)
    except ValueError:
        raise ClaimError(f"encoding {encoding_number} is unknown") from None
    if kind == _KIND_CLAIM:
        return _parse_claim(data, flags, encoding)
    if kind == _KIND_INLINE:
        return _parse_inline(data, flags, encoding)
    raise ClaimError(f"envelope kind {kind} is unknown")


def _parse_inline(data: bytes, flags: int, encoding: Encoding) -> Inline:
    if flags:
        raise ClaimError(f"flags {flags:#04x} are unknown in an inline envelope")
    payload_size, position = _load_varint(data, _PREFIX_SIZE)
    inline = Inline(payload_size, data[position:], encoding)
    if encoding is Encoding.IDENTITY and len(inline.stored) != payload_size:
        raise ClaimError(
            f"the inline envelope holds {len(inline.stored)} bytes and says {payload_size}"
        )
    _check_smaller(encoding, payload_size, len(inline.stored))
    return inline


def _parse_claim(data: bytes, flags: int, encoding: Encoding) -> Claim:
    if len(data) > MAX_ENVELOPE_SIZE:
        raise ClaimError("the envelope is too long for a claim", size=len(data))
    if flags & ~_FLAG_DIGEST_IN_KEY:
        raise ClaimError(f"flags {flags:#04x} are unknown in a claim")
    payload_size, position = _load_varint(data, _PREFIX_SIZE)
    stored_size, position = _load_varint(data, position)
    sha256, position = _take(data, position, _DIGEST_SIZE)
    bucket, position = _load_text(data, position, "bucket", _MAX_BUCKET)
    key, position = _load_text(data, position, "object key", _MAX_KEY)
    if position != len(data):
        raise ClaimError(f"the claim is followed by {len(data) - position} more bytes")
    if encoding is Encoding.IDENTITY and stored_size != payload_size:
        raise ClaimError(
            f"the claim says {payload_size} bytes of payload and {stored_size} stored as they are"
        )
    _check_smaller(encoding, payload_size, stored_size)
    holes = key.count(_HOLE)
    if holes != flags & _FLAG_DIGEST_IN_KEY:
        raise ClaimError(f"the claim's object key has {holes} places for the digest")
    spelled, key = key, key.replace(_HOLE, sha256.hex())
    if _cut_digest(key, sha256) != (spelled, flags):
        raise ClaimError("the claim's object key spells out the digest that it should cut out")
    if len(key.encode()) > _MAX_KEY:
        raise ClaimError(f"the claim's object key has more than {_MAX_KEY} bytes")
    if _HOLE in bucket:
        raise ClaimError("the claim's bucket holds a zero byte")
    return Claim(bucket, key, payload_size, stored_size, sha256, encoding)


def _check_smaller(encoding: Encoding, payload_size: int, stored_size: int) -> None:
    # What does not get smaller is stored as it is: there is one spelling, and nobody
    # downloads more than the payload has.
    if encoding is not Encoding.IDENTITY and stored_size >= payload_size:
        raise ClaimError(
            f"the envelope says {payload_size} bytes of payload and {stored_size} stored in the "
            f"encoding {encoding.name.lower()}, which must be fewer"
        )


def _cut_digest(key: str, sha256: bytes) -> tuple[str, int]:
    before, digest, after = key.rpartition(sha256.hex())
    return (f"{before}{_HOLE}{after}", _FLAG_DIGEST_IN_KEY) if digest else (key, 0)


def _take(data: bytes, position: int, size: int) -> tuple[bytes, int]:
    end = position + size
    if end > len(data):
        raise ClaimError("the envelope is cut short", size=len(data))
    return data[position:end], end


def _load_varint(data: bytes, position: int) -> tuple[int, int]:
    # Unsigned LEB128, least significant group first (Protocol Buffers "varint"),
    # in its shortest form only, so that a claim has exactly one spelling.
    value = 0
    for shift in range(0, 7 * _MAX_VARINT, 7):
        group, position = _take(data, position, 1)
        value |= (group[0] & 0x7F) << shift
        if group[0] < 0x80:
            if shift and not group[0]:
                raise ClaimError("a number in the envelope is not in its shortest form")
            return value, position
    raise ClaimError("a number in the envelope has more than 63 bits")


def _dump_varint(value: int) -> bytes:
    if value < 0 or value >> (7 * _MAX_VARINT):
        raise ClaimError(f"{value} does not fit 63 bits")
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _load_text(data: bytes, position: int, field: str, limit: int) -> tuple[str, int]:
    size, position = _load_varint(data, position)
    if not 0 < size <= limit:
        raise ClaimError(f"the claim's {field} has {size} bytes; it must have 1 to {limit}")
    raw, position = _take(data, position, size)
    try:
        return raw.decode(), position
    except UnicodeDecodeError:
        raise ClaimError(f"the claim's {field} is not UTF-8") from None


def _dump_text(text: str) -> bytes:
    raw = text.encode()
    return _dump_varint(len(raw)) + raw
