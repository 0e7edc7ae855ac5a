"""The records of a campaign: each follows from the seed and its number."""

from __future__ import annotations

import hashlib
import math
import random

KEYS = 24
SMALLEST, LARGEST = 1_000, 5_000_000


def key_of(number: int) -> bytes:
    """Return the key of a record."""
    return f"key-{number % KEYS:02}".encode()


def payload_of(seed: int, number: int) -> bytes:
    """Return the value of a record: as many of 1 to 10 KB as of 100 KB to 1 MB."""
    chosen = random.Random(f"{seed}/{number}")
    size = math.exp(chosen.uniform(math.log(SMALLEST), math.log(LARGEST)))
    return chosen.randbytes(int(size))


def processed(payload: bytes) -> bytes:
    """Return what an agent makes of a value."""
    return payload[::-1]


def digest_of_result(seed: int, number: int) -> str:
    """Return the SHA-256 of what is to become of a record."""
    return hashlib.sha256(processed(payload_of(seed, number))).hexdigest()
