"""The same outage under a reading agent, with this package and with another one for Faust."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.util import find_spec

from campaign import Row, play
from injected import Refused
from payloads import digest_of_result
from scenarios import Scenario, outages, sigterm, to_s3
from stage import Servers, stage

OURS = "faust-s3"
THEIRS = "faust-large-message-serializer"
#: Seconds until an operator starts the worker again, and until what has not come then is lost.
_PATIENCE = 20.0


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
            (Scenario(f"{package}: S3 away {seconds:g} s", to_s3(Refused()), hits), seconds),
            (Scenario("all workers stopped and started again", sigterm), 0.0),
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
            rows = play(on_stage, plan, digest=digest, patience=_PATIENCE, say=say)
        row = rows[0]
        row.theirs = package == THEIRS
        row.records = sum(one.records for one in rows)
        row.lost = sum(one.lost for one in rows)
        row.duplicated = sum(one.duplicated for one in rows)
        compared.append(row)
    return compared
