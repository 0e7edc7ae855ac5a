"""Envelopes bent out of shape, from the golden vectors.

Half of them are changed field by field and written again, so that what comes behind the
change is still in its place and readers get to it; the others are changed as bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from faust_s3.claim import MAGIC, Claim, parse

__all__ = ["BUCKETS", "GOLDEN", "STORED", "mutated"]

_VECTORS = json.loads(
    (Path(__file__).parents[1] / "unit" / "golden" / "claims.json").read_text(encoding="utf-8")
)
#: The envelopes of the golden vectors, good and bad.
GOLDEN = tuple(
    bytes.fromhex(vector["envelope"]) for vector in (*_VECTORS["accepted"], *_VECTORS["refused"])
)
_CLAIMS = tuple(claim for data in GOLDEN[: len(_VECTORS["accepted"])]
                if isinstance(claim := parse(data), Claim) and not claim.encoding)  # fmt: skip
#: Claims whose objects there are, as they are; the documents' payload is "faust" over and over.
STORED = {claim: b"faust" * (claim.payload_size // 5) for claim in _CLAIMS[1:]}

#: Names of buckets: ours, and such as come near it.
BUCKETS = ("my-bucket", "b", "my-bucket-evil", "my-bucke", "MY-BUCKET", "my-bucket/photos", "..")
_KEYS = (
    "photos/x", "photos", "photos/", "photos-evil/x", "photos/../x", "photos/./x", "../photos/x",
    "/photos/x", "//", "photos//x", "photos/%2e%2e/x", "photos%2f..%2fx", "%70hotos/x",
    "photos\\..\\x", "PHOTOS/x", "\0", "photos/\0", "photos/\0/\0", "photos/\ufeff", "-/x",
    "photos/" + "k" * 1017, "photos/" + "k" * 1018, "photos/\0" + "k" * 960, "ü" * 513,
)  # fmt: skip
_SIZES = (0, 1, 4, 5, 127, 128, 2**14 - 1, 2**14, 500_000, 2**21, 2**32, 2**63 - 1)
_BYTES = (0x00, 0x01, 0x02, 0x7F, 0x80, 0x81, 0xC1, 0xFF)


@dataclass(frozen=True, slots=True)
class _Fields:
    """An envelope as its fields, each as it will be spelled."""

    header: tuple[int, int, int, int]
    sizes: tuple[bytes, ...]
    digest: bytes
    bucket: tuple[bytes, bytes]
    key: tuple[bytes, bytes]
    end: bytes = b""

    def dumps(self) -> bytes:
        return b"".join(
            (MAGIC, bytes(self.header), *self.sizes, self.digest, *self.bucket, *self.key, self.end)
        )


def _varint(value: int, *, more: int = 0) -> bytes:
    """Spell a number, with so many groups more than it needs."""
    groups = bytearray()
    while True:
        group, value = value & 0x7F, value >> 7
        if not value and not more:
            return bytes([*groups, group])
        groups.append(group | 0x80)
        more -= not value


def _text(raw: bytes) -> tuple[bytes, bytes]:
    return _varint(len(raw)), raw


def _fields_of(claim: Claim) -> _Fields:
    key = claim.key.encode()
    cut = key.replace(claim.sha256.hex().encode(), b"\0")
    size = _varint(claim.payload_size)
    header = (1, 1, int(cut != key), 0)
    return _Fields(header, (size, size), claim.sha256, _text(claim.bucket.encode()), _text(cut))


_FIELDS = tuple(_fields_of(claim) for claim in _CLAIMS)


def _number(random: Random) -> int:
    if random.random() < 0.5:
        return random.choice(_SIZES)
    return random.getrandbits(random.randrange(1, 64))


def _spelling(random: Random) -> bytes:
    """Return a number in its shortest form, in a longer one, too large or unfinished."""
    kind = random.random()
    if kind < 0.6:
        return _varint(_number(random))
    if kind < 0.75:
        return _varint(random.choice(_SIZES), more=random.randrange(1, 4))
    if kind < 0.9:
        return _varint(random.getrandbits(70) | 1 << random.randrange(63, 70))
    return bytes(0x80 | random.getrandbits(7) for _ in range(random.randrange(1, 12)))


def _some_bytes(random: Random, most: int) -> bytes:
    return random.randbytes(random.randrange(1, most))


def _other_header(random: Random, fields: _Fields) -> _Fields:
    header = list(fields.header)
    header[random.randrange(4)] = random.choice((0, 1, 2, 3, random.getrandbits(8)))
    return replace(fields, header=tuple(header))


def _same_sizes(random: Random, fields: _Fields) -> _Fields:
    size = _spelling(random)
    return replace(fields, sizes=(size, size))


def _lying_size(random: Random, fields: _Fields) -> _Fields:
    sizes = [*fields.sizes]
    sizes[random.randrange(2)] = _spelling(random)
    return replace(fields, sizes=tuple(sizes))


def _other_digest(random: Random, fields: _Fields) -> _Fields:
    return replace(fields, digest=random.randbytes(random.choice((31, 32, 32, 32, 33))))


def _other_bucket(random: Random, fields: _Fields) -> _Fields:
    known = random.choice(BUCKETS).encode()
    raw = random.choice((known, known + b"\0", known + b"\xff", b"b" * 256, b"", known * 20))
    return replace(fields, bucket=_text(raw))


def _other_key(random: Random, fields: _Fields) -> _Fields:
    raw = random.choice((*_KEYS, f"photos/{fields.digest.hex()}")).encode()
    if random.random() < 0.1:
        raw += bytes([random.getrandbits(8)])
    flags = random.choice((raw.count(0) & 1, fields.header[2]))
    version, kind, _, encoding = fields.header
    return replace(fields, header=(version, kind, flags, encoding), key=_text(raw))


def _lying_length(random: Random, fields: _Fields) -> _Fields:
    name = random.choice(("bucket", "key"))
    size, raw = getattr(fields, name)
    wrong = max(0, len(raw) + random.choice((-2, -1, 1, 2, 64)))
    lie = random.choice((_varint(wrong), _spelling(random), size + b"\0"))
    return replace(fields, **{name: (lie, raw)})


def _more_behind(random: Random, fields: _Fields) -> _Fields:
    return replace(fields, end=random.choice((b"\0", _some_bytes(random, 8), bytes(2000))))


_FIELD_CHANGES: tuple[Callable[[Random, _Fields], _Fields], ...] = (
    _other_header, _same_sizes, _lying_size, _other_digest, _other_bucket, _other_key,
    _lying_length, _more_behind,
)  # fmt: skip


def _flipped(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _overwritten(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    changed[random.randrange(len(data))] = random.choice(_BYTES)
    return bytes(changed)


def _cut(random: Random, data: bytes) -> bytes:
    return data[: random.randrange(len(data))]


def _shortened(random: Random, data: bytes) -> bytes:
    start = random.randrange(len(data))
    return data[:start] + data[start + random.randrange(1, 9) :]


def _lengthened(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + _some_bytes(random, 9) + data[at:]


def _spliced(random: Random, data: bytes) -> bytes:
    other = random.choice(GOLDEN)
    return data[: random.randrange(len(data))] + other[random.randrange(len(other)) :]


def _repeated(random: Random, data: bytes) -> bytes:
    start = random.randrange(len(data))
    end = random.randrange(start, len(data))
    return data[:end] + data[start:]


def _other_number(random: Random, data: bytes) -> bytes:
    at = random.randrange(8, 24)
    return data[:at] + _spelling(random) + data[at + random.randrange(1, 4) :]


_BYTE_CHANGES: tuple[Callable[[Random, bytes], bytes], ...] = (
    _flipped, _overwritten, _cut, _shortened, _lengthened, _spliced, _repeated, _other_number,
)  # fmt: skip


def mutated(random: Random) -> bytes:
    """Return the next input: up to four changes to an envelope."""
    if random.random() < 0.5:
        fields = random.choice(_FIELDS)
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            fields = random.choice(_FIELD_CHANGES)(random, fields)
        data, changes = fields.dumps(), random.choice((0, 0, 0, 1))
    else:
        data, changes = random.choice(GOLDEN), random.choice((0, 1, 1, 1, 2, 3, 4))
    for _ in range(changes):
        if data:
            data = random.choice(_BYTE_CHANGES)(random, data)
    return data
