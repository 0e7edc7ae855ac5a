"""Plays scenarios, one after the other, while records flow; then judges the whole."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from checker import Source, check
from scenarios import Scenario
from stage import Stage
from watcher import Watcher, redeemed

#: Records that have to come through before a fault, so that there is work for it to hit.
_FLOWING = 5
#: Seconds after which we do not wait on.
PATIENCE = 240.0
#: Results that come once more come within so many seconds.
_LATE = 3.0
_LOOK = 0.05


@dataclass
class Row:
    """A fault and what became of the records that were sent while it was the last one.

    Attributes:
        stall: The longest time without a new result, in seconds.
        recovery: From the end of the fault until everything sent by then had come out, in
            seconds; None if that took too long.
        hits: What the fault has hit: requests, connections, workers; None if not known.
        broken: What breaks a promise, as numbers of records.
        theirs: Whether the promise is not ours.
    """

    fault: str
    records: int = 0
    lost: int = 0
    duplicated: int = 0
    stall: float = 0.0
    recovery: float | None = None
    hits: int | None = None
    broken: dict[str, list[int]] = field(default_factory=dict)
    theirs: bool = False

    def problems(self) -> list[str]:
        """Say what is not as it has to be."""
        found = [f"{name} {numbers}" for name, numbers in self.broken.items()]
        if self.recovery is None:
            found.append("no recovery")
        if self.hits == 0:
            found.append("the fault has hit nothing")
        if not self.records:
            found.append("no records")
        return found


@dataclass
class _Part:
    """Of a campaign: a scenario, its times, and the number of its first record."""

    name: str
    first: int
    began: float
    ended: float = 0.0
    recovered: float | None = None
    hits: int | None = None


def play(
    stage: Stage,
    scenarios: Sequence[tuple[Scenario, float]],
    *,
    digest: Callable[[int], str],
    say: Callable[[str], None],
    exactly_once: bool = False,
    patience: float = PATIENCE,
) -> list[Row]:
    """Play scenarios, for so many seconds each, and return a row for each.

    Args:
        stage: Where.
        scenarios: With their seconds.
        digest: Returns the digest that the result of a record has to have.
        say: Reports progress.
        exactly_once: Whether a result that comes once more breaks a promise.
        patience: Seconds until a record that is under way is given up. Those behind it are
            still waited for.
    """
    given_up: set[Source] = set()
    parts = [_play_one(stage, one, seconds, patience, say, given_up) for one, seconds in scenarios]
    stage.feeder.end()
    say("waiting for the last results")
    _wait_for(stage, lambda: stage.watcher.missing() <= given_up, patience)
    stage.wait(_LATE)
    stage.crew.leave_all()
    stage.wait(_LATE)
    say(f"checking {len(stage.watcher.seen)} results")
    rows = _judge(stage, parts, digest, exactly_once)
    if exactly_once:
        stage.notes += _repeats(stage.watcher)
    if stage.crew.restarts:
        say(f"workers that ended by themselves were started again {stage.crew.restarts} times")
    for note in stage.notes:
        say(note)
    return rows


def _play_one(
    stage: Stage,
    one: Scenario,
    seconds: float,
    patience: float,
    say: Callable[[str], None],
    given_up: set[Source],
) -> _Part:
    watcher = stage.watcher
    part = _Part(one.name, _next_number(watcher), time.monotonic())
    before = len(watcher.done())
    if not _wait_for(stage, lambda: len(watcher.done()) >= before + _FLOWING, patience):
        say(f"{one.name}: nothing came through before it")
        part.ended = time.monotonic()
        return part
    hits = one.hits and one.hits(stage)
    one.act(stage, seconds)
    due = watcher.missing() - given_up
    ended = time.monotonic()
    if _wait_for(stage, lambda: due <= watcher.done(), patience):
        part.recovered = time.monotonic() - ended
    else:
        given_up |= due - watcher.done()
    if one.hits is not None and hits is not None:
        part.hits = one.hits(stage) - hits
    recovered = "no recovery" if part.recovered is None else f"recovered in {part.recovered:.1f} s"
    say(f"{one.name}: {recovered}; {len(watcher.sent)} sent, {len(watcher.missing())} under way")
    part.ended = time.monotonic()
    return part


def _next_number(watcher: Watcher) -> int:
    return max((sent.number for sent in list(watcher.sent)), default=-1) + 1


def _wait_for(stage: Stage, what: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not what():
        if time.monotonic() > deadline:
            return False
        stage.wait(_LOOK)
    return True


def _judge(
    stage: Stage, parts: list[_Part], digest: Callable[[int], str], exactly_once: bool
) -> list[Row]:
    watcher = stage.watcher
    acknowledged = {
        int(line.split()[1])
        for line in stage.feeder.output().splitlines()
        if line.startswith("sent ")
    }
    verdict = check(
        watcher.sent,
        redeemed(watcher.seen, stage.servers.s3),
        acknowledged=acknowledged,
        digest=lru_cache(None)(digest),
    )
    numbers = {sent.number for sent in watcher.sent} | acknowledged
    broken = verdict.faults(exactly_once=exactly_once)
    rows = []
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        mine = range(part.first, following.first if following else 10**9)

        def of_mine(found: list[int], mine: range = mine) -> list[int]:
            return [number for number in found if number in mine]

        rows.append(
            Row(
                part.name,
                records=len(of_mine(list(numbers))),
                lost=len(of_mine(verdict.lost)),
                duplicated=len(of_mine(verdict.repeated)),
                stall=_longest_stall(watcher, part.began, part.ended),
                recovery=part.recovered,
                hits=part.hits,
                broken={name: of_mine(found) for name, found in broken.items() if of_mine(found)},
            )
        )
    return rows


def _repeats(watcher: Watcher) -> list[str]:
    """Say where results lie that came more than once, for whoever looks for the cause."""
    found = defaultdict(list)
    for one in watcher.seen:
        found[one.source].append(one.place)
    return [
        f"what became of {source} lies at {', '.join(map(str, places))}"
        for source, places in found.items()
        if len(places) > 1
    ]


def _longest_stall(watcher: Watcher, began: float, ended: float) -> float:
    """Return the longest time without the first result of any record."""
    first: dict[object, float] = {}
    for one in watcher.seen:
        first.setdefault(one.source, one.at)
    times = sorted(at for at in first.values() if began <= at <= ended)
    return max(
        (after - before for before, after in zip([began, *times], [*times, ended], strict=True)),
        default=ended - began,
    )
