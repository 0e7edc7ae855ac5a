"""What is sent to each way of reading; every second photo is large."""

from __future__ import annotations

COUNT = 6


def pixels(number: int) -> str:
    return f"{number}" * (2000 + number if number % 2 else 10 + number)
