"""The long run: ``tox run -e fuzz``, on every core, reproducible by its seed."""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from multiprocessing import get_context

from fuzz.outcomes import Readers, Surprise, outcomes

#: Inputs per piece of work: a few seconds.
PIECE = 50_000

__all__ = ["main"]

_readers: Readers


def _prepare() -> None:
    global _readers
    _readers = Readers()


def _work(piece: tuple[str, int]) -> Counter[str] | str:
    seed, count = piece
    try:
        return outcomes(_readers, seed, count)
    except Surprise as surprise:
        return f"seed {seed}: {surprise}"


def main() -> int:
    """Read mutated envelopes and say what became of them."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000_000, help="inputs (default 10 million)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same inputs")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    sizes = [min(PIECE, given.count - start) for start in range(0, given.count, PIECE)]
    pieces = [(f"{given.seed}/{number}", size) for number, size in enumerate(sizes)]

    found: Counter[str] = Counter()
    surprises: list[str] = []
    started = time.monotonic()
    with get_context("spawn").Pool(given.processes, _prepare) as pool:
        for done, result in enumerate(pool.imap_unordered(_work, pieces), 1):
            if isinstance(result, str):
                surprises.append(result)
                print(result, flush=True)
                continue
            found += result
            if done % 10 == 0:
                print(
                    f"{found.total():>12,} inputs, {time.monotonic() - started:.0f} s", flush=True
                )

    print(f"\n{found.total():,} inputs, seed {given.seed}, {time.monotonic() - started:.0f} s\n")
    for outcome, times in sorted(found.items()):
        print(f"{times:>12,}  {outcome}")
    print(f"{len(surprises):>12,}  anything else")
    return 1 if surprises else 0
