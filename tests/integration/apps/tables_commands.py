"""What the tables are told, and what they have to hold then."""

from __future__ import annotations


def text_of(seed: int, size: int) -> str:
    """Return a text that no other seed has."""
    return (f"{seed:08d}" * (size // 8 + 1))[:size]
