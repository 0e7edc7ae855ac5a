"""The same outage under a reading agent, with this package and with another one for Faust."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.util import find_spec

from campaign import Row, play
from injected import Refused
from payloads import digest_of_result
from scenarios import Scenario, outages, sigterm, to_s3
from stage import Servers, Stage, stage

OURS = "faust-s3"
THEIRS = "faust-large-message-serializer"
#: Seconds until an operator starts the worker again.
_PATIENCE = 5.0


def outage_and_restart(stage: Stage, seconds: float) -> None:
    """Take S3 away, and start the worker again a while after that, whether it works or not."""
    to_s3(Refused())(stage, seconds)
    stage.wait(_PATIENCE)
    sigterm(stage, 0.0)


def compare(
    on: Servers, *, seconds: float, seed: int, rate: float, say: Callable[[str], None]
) -> list[Row]:
    """Take S3 away for so many seconds, and return a row for each package.

    What is lost is judged after the worker has been stopped and started again: until then it
    may just not have been processed yet.
    """

    def digest(number: int) -> str:
        return hashlib.sha256(digest_of_result(seed, number).encode()).hexdigest()

    compared = []
    for package in (OURS, THEIRS):
        if package == THEIRS and find_spec(THEIRS.replace("-", "_")) is None:
            say(f"{THEIRS} is not installed; tox run -e faults installs it")
            continue
        say(f"an agent reads through an outage with {package}")
        hits = outages if package == OURS else None  # theirs has other words for it
        plan = [
            (Scenario(f"{package}: S3 away {seconds:g} s", outage_and_restart, hits), seconds),
        ]
        with stage(
            on,
            f"reading-with-{package}",
            "reading_app",
            workers=1,
            seed=seed,
            rate=rate,
            environ={"CODEC": package},
        ) as on_stage:
            rows = play(on_stage, plan, digest=digest, patience=60.0, say=say)
        (row,) = rows
        row.theirs = package == THEIRS
        compared.append(row)
    return compared
