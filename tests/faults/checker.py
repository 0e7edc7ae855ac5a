"""Judges a campaign by what lay on its topics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """Where a record lies on the input topic. A number may lie there twice."""

    partition: int
    offset: int


@dataclass(frozen=True)
class Sent:
    """A record on the input topic."""

    number: int
    key: bytes
    source: Source


@dataclass(frozen=True)
class Result:
    """A record on the output topic, in the order of its partition."""

    number: int
    key: bytes
    source: Source
    digest: str


@dataclass
class Verdict:
    """What is wrong, as numbers of records.

    Attributes:
        lost: No result, or acknowledged to whoever sent it and not on the input topic.
        repeated: One entry for each result after a record's first.
        reordered: The first result came after that of a later record with the same key.
        corrupted: A result is not what had to become of the record.
        foreign: A result of a record that was never sent.
    """

    lost: list[int] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    reordered: list[int] = field(default_factory=list)
    corrupted: list[int] = field(default_factory=list)
    foreign: list[int] = field(default_factory=list)

    def faults(self, *, exactly_once: bool = False) -> dict[str, list[int]]:
        """Return what breaks a promise."""
        broken = {
            "lost": self.lost,
            "reordered": self.reordered,
            "corrupted": self.corrupted,
            "foreign": self.foreign,
            "repeated": self.repeated if exactly_once else [],
        }
        return {name: numbers for name, numbers in broken.items() if numbers}


def check(
    sent: Iterable[Sent],
    results: Sequence[Result],
    *,
    acknowledged: Iterable[int] = (),
    digest: Callable[[int], str],
) -> Verdict:
    """Compare what came out with what went in.

    Args:
        sent: The input topic.
        results: The output topic; the order within each partition counts.
        acknowledged: Numbers of which the sender was told that Kafka has them.
        digest: Returns the digest that the result of a number has to have.
    """
    by_source = {record.source: record for record in sent}
    numbers = {record.number for record in by_source.values()}
    verdict = Verdict()
    seen: Counter[Source] = Counter()
    latest: dict[tuple[bytes, int], int] = {}
    for result in results:
        record = by_source.get(result.source)
        if record is None or (record.number, record.key) != (result.number, result.key):
            verdict.foreign.append(result.number)
            continue
        seen[result.source] += 1
        if result.digest != digest(result.number):
            verdict.corrupted.append(result.number)
        if seen[result.source] > 1:
            verdict.repeated.append(result.number)
            continue
        line = (result.key, result.source.partition)
        if result.source.offset < latest.get(line, -1):
            verdict.reordered.append(result.number)
        latest[line] = max(latest.get(line, -1), result.source.offset)
    verdict.lost = [record.number for source, record in by_source.items() if not seen[source]]
    verdict.lost += [number for number in acknowledged if number not in numbers]
    return verdict
