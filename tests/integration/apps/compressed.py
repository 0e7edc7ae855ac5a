"""What is sent compressed, by what becomes of it with a threshold of 20000 bytes."""

from __future__ import annotations

import hashlib
import random

NOISE = random.Random(1).randbytes(3_000_000)
#: On the topic as it is, on the topic compressed, in S3, in S3 as it is.
PAYLOADS = {
    "small": b"x" * 20_000,
    "words": b"faust" * 100_000,
    "hex": NOISE[:1_000_000].hex().encode(),
    "noise": NOISE,
}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
