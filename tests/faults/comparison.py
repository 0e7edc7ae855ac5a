"""The same outage under a reading agent, with this package and with another one for Faust."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.util import find_spec

from campaign import Row, play
from injected import Refused
from payloads import digest_of_result
from scenarios import Scenario, to_s3
from stage import Servers, stage

OURS = "faust-s3"
THEIRS = "faust-large-message-serializer"
#: Seconds after which a record is lost: theirs are gone at once.
_PATIENCE = 30.0


def compare(
    on: Servers, *, seconds: float, seed: int, rate: float, say: Callable[[str], None]
) -> list[Row]:
    """Take S3 away for so many seconds, and return a row for each package."""

    def digest(number: int) -> str:
        return hashlib.sha256(digest_of_result(seed, number).encode()).hexdigest()

    rows = []
    for package in (OURS, THEIRS):
        if package == THEIRS and find_spec(THEIRS.replace("-", "_")) is None:
            say(f"{THEIRS} is not installed; tox run -e faults installs it")
            continue
        say(f"an agent reads through an outage with {package}")
        outage = Scenario(f"{package}: S3 away {seconds:g} s", to_s3(Refused()))
        with stage(
            on,
            f"reading-with-{package}",
            "reading_app",
            workers=1,
            seed=seed,
            rate=rate,
            environ={"CODEC": package},
        ) as on_stage:
            row, after = play(
                on_stage,
                [(outage, seconds), (Scenario("after", lambda *_: None), 0.0)],
                digest=digest,
                patience=_PATIENCE,
                say=say,
            )
        row.theirs = package == THEIRS
        row.records += after.records
        row.lost += after.lost
        row.duplicated += after.duplicated
        rows.append(row)
    return rows
