"""Runs the campaign: ``tox run -e faults -- --help``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from apache_kafka import available
from campaign import Row, play
from comparison import compare
from payloads import digest_of_result
from scenarios import EXACTLY_ONCE, SCENARIOS, Scenario, anything, at_random
from stage import Servers, servers, stage
from table import table

_BEGAN = time.monotonic()
_RANDOM = "random sequence"
_COMPARISON = "comparison"
_RECORDS_PER_SECOND = 5.0


def say(text: str) -> None:
    """Report progress."""
    print(f"[{time.monotonic() - _BEGAN:4.0f} s] {text}", flush=True)


def main() -> int:
    """Play what the command line asks for, and return 1 if a promise was broken."""
    options = parse()
    if (problem := available()) is not None:
        print(f"no faults were injected: {problem}", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that the broker is away is known
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="faust-s3-faults-") as made:
        directory = options.keep or Path(made)
        say(f"seed {options.seed}; logs are in {directory}")
        with servers(directory) as on:
            rows += at_least_once(on, options)
            rows += exactly_once(on, options)
            rows += comparison(on, options)
    print(table(rows))
    problems = {row.fault: row.problems() for row in rows if not row.theirs}
    for fault, found in problems.items():
        for problem in found:
            print(f"{fault}: {problem}", file=sys.stderr)
    return 1 if any(problems.values()) or not rows else 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    names = [*(one.name for one in SCENARIOS), _RANDOM, _COMPARISON]
    parser = argparse.ArgumentParser(description="Faults injected into real processes.")
    parser.add_argument("--short", action="store_true", help="what fits into 8 minutes")
    parser.add_argument("--seed", type=int, default=4, help="of records, faults and times")
    parser.add_argument("--minutes", type=float, help="of the random sequence")
    parser.add_argument("--workers", type=int, help="how many, 2 if short, else 3")
    parser.add_argument("--fault", action="append", help=f"only this one; of {', '.join(names)}")
    parser.add_argument("--guarantee", choices=["at_least_once", "exactly_once"], help="only this")
    parser.add_argument("--keep", type=Path, help="a directory for logs and data")
    options = parser.parse_args()
    for name in options.fault or ():
        if name not in names:
            parser.error(f"--fault {name!r} is not one of {', '.join(names)}")
    if options.minutes is None:
        options.minutes = 0.4 if options.short else 10.0
    options.workers = options.workers or (2 if options.short else 3)
    return options


def chosen(scenarios: list[Scenario], options: argparse.Namespace) -> list[tuple[Scenario, float]]:
    """Return those that are asked for, and their times."""
    return [
        (one, one.short if options.short else one.seconds)
        for one in scenarios
        if (one.name in options.fault if options.fault else one.short or not options.short)
    ]


def at_least_once(on: Servers, options: argparse.Namespace) -> list[Row]:
    """Play each fault, and then a random sequence of them."""
    plan = chosen(SCENARIOS, options)
    if _RANDOM in (options.fault or [_RANDOM]) and options.minutes:
        name = f"{_RANDOM}, {options.minutes:g} minutes, seed {options.seed}"
        plan.append((Scenario(name, at_random(options.minutes, say), anything), 0.0))
    return run(on, "at-least-once", plan, options, {"GUARANTEE": "at_least_once"})


def exactly_once(on: Servers, options: argparse.Namespace) -> list[Row]:
    """Play what concerns transactions."""
    plan = chosen(EXACTLY_ONCE, options)
    # Without publishing on commit, Faust's transactions also commit what was sent for events
    # that are not acknowledged yet, and that are delivered again to the next worker.
    environ = {"GUARANTEE": "exactly_once", "ON_COMMIT": "yes"}
    return run(on, "exactly-once", plan, options, environ)


def comparison(on: Servers, options: argparse.Namespace) -> list[Row]:
    """Have agents read through an outage, with this package and with another one."""
    wanted = _COMPARISON in options.fault if options.fault else not options.short
    if options.guarantee or not wanted:
        return []
    seconds = 10.0 if options.short else 90.0
    return compare(on, seconds=seconds, seed=options.seed, rate=_RECORDS_PER_SECOND, say=say)


def run(
    on: Servers,
    name: str,
    plan: list[tuple[Scenario, float]],
    options: argparse.Namespace,
    environ: dict[str, str],
) -> list[Row]:
    """Play scenarios with an app of their own."""
    guarantee = environ["GUARANTEE"]
    if not plan or options.guarantee not in (None, guarantee):
        return []
    say(f"{name}: starting {options.workers} workers")
    with stage(
        on,
        name,
        "campaign_app",
        workers=options.workers,
        seed=options.seed,
        rate=_RECORDS_PER_SECOND,
        environ=environ,
    ) as on_stage:
        rows = play(
            on_stage,
            plan,
            digest=partial(digest_of_result, options.seed),
            exactly_once=guarantee == "exactly_once",
            say=say,
        )
    for row in rows:
        row.fault = row.fault if guarantee == "at_least_once" else f"{name}: {row.fault}"
    return rows


if __name__ == "__main__":
    sys.exit(main())
