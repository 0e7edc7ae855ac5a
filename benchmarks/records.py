"""The records that every contender gets: the same number, the same bytes."""

from __future__ import annotations

import random
from typing import Final

__all__ = ["COUNTS", "KINDS", "SMALL", "data_of", "number_of", "size_of", "text_of", "threshold_of"]

KIB: Final = 1024
MIB: Final = 1024 * KIB

#: Bytes of a record. None: they are drawn, see below.
KINDS: Final[dict[str, int | None]] = {
    "1 KiB": KIB,
    "64 KiB": 64 * KIB,
    "1 MiB": MIB,
    "16 MiB": 16 * MIB,
    "mix": None,
}
#: Stays inline with the default threshold.
SMALL: Final = "1 KiB"
#: Records on a topic that is read: more than any contender reads in the time of a measurement.
COUNTS: Final = {"1 KiB": 30_000, "64 KiB": 6000, "1 MiB": 1600, "16 MiB": 96, "mix": 3000}

THRESHOLD: Final = 256 * KIB
#: Log-normal: half of the records are below this, and 80 % below the threshold.
_MEDIAN: Final = 64 * KIB
_SIGMA: Final = 1.647
_LARGEST: Final = 16 * MIB
_SMALLEST: Final = 64


def size_of(kind: str, number: int) -> int:
    """Return the bytes of a record; of a mix, the same for the same number."""
    size = KINDS[kind]
    if size is None:
        drawn = _MEDIAN * random.Random(number).lognormvariate(0.0, _SIGMA)
        size = min(max(int(drawn), _SMALLEST), _LARGEST)
    return size


def data_of(kind: str, number: int, salt: str) -> bytes:
    """Return a record. No two are the same."""
    return f"{number:08}-{salt}-".encode().ljust(size_of(kind, number), b"x")


def text_of(kind: str, number: int, salt: str) -> str:
    """Return the same as text, for those who take no bytes."""
    return data_of(kind, number, salt).decode()


def number_of(record: str | bytes) -> int:
    """Return the number that a record begins with."""
    return int(record[:8])


def threshold_of(kind: str) -> int:
    """Return the threshold, in bytes, that all are set to: the default, or below the records."""
    size = KINDS[kind]
    return THRESHOLD if kind == SMALL or size is None or size > THRESHOLD else size // 2
