"""What is measured: contenders, and the combinations of record size, latency and workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.records import SMALL

__all__ = ["CONTENDERS", "FLOORS", "FULL", "LOADERS", "OURS", "QUICK", "Case", "Contender", "Plan"]


@dataclass(frozen=True)
class Contender:
    """A program, its environment, and what it reads.

    Attributes:
        name: As in figures; also what its program is told.
        label: As in tables and plots.
        module: The program.
        format: Who can read what it has written: those of the same format.
        requirements: File of its environment. None: ours.
        part: Of the records that it gets: those of slow ones would take minutes to write.
    """

    name: str
    label: str
    module: str
    format: str
    requirements: str | None = None
    part: float = 1.0


_APP: Final = "benchmarks.contenders.faust_app"
_FLOOR: Final = "benchmarks.contenders.floor"

CONTENDERS: Final = {
    one.name: one
    for one in (
        Contender("boto3", "bare boto3", _FLOOR, "faust_s3"),
        Contender("obstore", "bare obstore", _FLOOR, "faust_s3"),
        Contender("faust_s3 boto3", "faust_s3, boto3", _APP, "faust_s3"),
        Contender("faust_s3 obstore", "faust_s3, obstore", _APP, "faust_s3"),
        Contender("codec boto3", "faust_s3's codec alone, boto3", _APP, "faust_s3"),
        Contender("flms", "faust-large-message-serializer", _APP, "flms", "flms.txt", 0.25),
        Contender(
            "kaf-s3",
            "kaf-s3-connector",
            "benchmarks.contenders.kaf_s3",
            "kaf-s3",
            "kaf_s3.txt",
            0.25,
        ),
        Contender("plain", "plain Faust", _APP, "plain"),
    )
}

FLOORS: Final = ("boto3", "obstore")
OURS: Final = ("faust_s3 boto3", "faust_s3 obstore")
#: The one that loads what a format's readers read.
LOADERS: Final = {
    "faust_s3": "faust_s3 obstore",
    "flms": "flms",
    "kaf-s3": "kaf-s3",
    "plain": "plain",
}


@dataclass(frozen=True)
class Case:
    """One combination.

    Attributes:
        mode: ``consume``, ``produce`` or ``process`` (read and send on).
        kind: Of `records.KINDS`.
        latency: Seconds that are added to each answer of the store.
        contenders: Who takes part.
        partitions: Of the topic that is read.
        workers: Processes of each contender.
        proxied: Through the proxy though it adds no latency.
        backlog: Records to read, all of them; memory is what is looked at. 0: as many as fit
            into the time.
        rounds: In how many it takes part, at most.
    """

    mode: str
    kind: str
    latency: float
    contenders: tuple[str, ...]
    partitions: int = 1
    workers: int = 1
    proxied: bool = False
    backlog: int = 0
    rounds: int = 2

    @property
    def name(self) -> str:
        """Name in figures."""
        parts = [self.mode, self.kind, f"{self.latency * 1000:g} ms"]
        if self.partitions > 1 or self.workers > 1:
            parts.append(f"{self.partitions} partitions, {self.workers} workers")
        if self.proxied:
            parts.append("proxied")
        if self.backlog:
            parts.append("backlog")
        return ", ".join(parts)


@dataclass(frozen=True)
class Plan:
    """A whole run.

    Attributes:
        cases: In each round.
        rounds: At most.
        seconds: Longest window of a measurement.
        minutes: After these, no more is measured than what every case needs: one round.
        part: Of the records, likewise.
    """

    cases: Sequence[Case]
    rounds: int
    seconds: float
    minutes: float
    part: float = 1.0


def _each(*modes: str, **settings: Any) -> list[Case]:
    return [Case(mode, **settings) for mode in modes]


_ALL: Final = ("consume", "produce", "process")
_BOTH: Final = ("consume", "produce")
_FLMS: Final = (*FLOORS, *OURS, "codec boto3", "flms")

QUICK: Final = Plan(
    cases=(
        *_each(*_BOTH, kind="1 MiB", latency=0.03, contenders=_FLMS),
        *_each("process", kind="1 MiB", latency=0.03, contenders=("boto3", "faust_s3 boto3")),
        *_each("consume", kind=SMALL, latency=0.0, contenders=("plain", "faust_s3 boto3")),
    ),
    rounds=3,
    seconds=2.0,
    minutes=2.5,
    part=0.4,
)

FULL: Final = Plan(
    cases=(
        *_each(*_ALL, kind="1 MiB", latency=0.03, contenders=tuple(CONTENDERS), rounds=5),
        *_each(*_ALL, kind="64 KiB", latency=0.03, contenders=_FLMS, rounds=5),
        *_each(*_BOTH, kind=SMALL, latency=0.0, contenders=("plain", "faust_s3 boto3"), rounds=5),
        *(
            Case(mode, "64 KiB", latency, (*FLOORS, *OURS))
            for latency in (0.0, 0.01, 0.1)
            for mode in _BOTH
        ),
        *(Case("consume", "1 MiB", latency, (*FLOORS, *OURS)) for latency in (0.0, 0.1)),
        *_each(*_BOTH, kind="16 MiB", latency=0.03, contenders=(*FLOORS, *OURS, "plain")),
        *_each("consume", "process", kind="mix", latency=0.03, contenders=(*OURS, "flms", "plain")),
        *(
            Case("consume", "64 KiB", 0.03, OURS, partitions=4, workers=workers)
            for workers in (1, 2)
        ),
        *_each(*_BOTH, kind="1 MiB", latency=0.0, contenders=FLOORS, proxied=True),
        Case("consume", "1 MiB", 0.0, (*OURS, "plain"), backlog=2048, rounds=1),
    ),
    rounds=5,
    seconds=3.0,
    minutes=27.0,
)
