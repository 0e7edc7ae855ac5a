"""The faults of a campaign: what is done to processes, and what proxies are told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from injected import (
    ACCESS_DENIED,
    INTERNAL_ERROR,
    NO_SUCH_KEY,
    SLOW_DOWN,
    THROTTLED,
    BlackHole,
    Fault,
    Refused,
    Reset,
    Slow,
    Trickle,
    Truncated,
    WrongBytes,
)
from stage import Stage

Act = Callable[[Stage, float], None]
Count = Callable[[Stage], int]


@dataclass(frozen=True)
class Scenario:
    """A fault of a campaign.

    Attributes:
        name: As in the table.
        act: Does it, for so many seconds.
        hits: Counts what has been hit so far, to tell whether the fault was one.
        seconds: How long in a full campaign.
        short: How long in a short one; 0 for not at all.
    """

    name: str
    act: Act
    hits: Count | None = None
    seconds: float = 20.0
    short: float = 4.0


def nothing(stage: Stage, seconds: float) -> None:
    """Let the workers work."""
    stage.wait(seconds)


def to_s3(fault: Fault) -> Act:
    """Have a fault between workers and S3."""

    def act(stage: Stage, seconds: float) -> None:
        with stage.servers.to_s3.suffering(fault):
            stage.wait(seconds)

    return act


def to_kafka(fault: Fault) -> Act:
    """Have a fault between workers and Kafka."""

    def act(stage: Stage, seconds: float) -> None:
        with stage.servers.to_kafka.suffering(fault):
            stage.wait(seconds)

    return act


def kill_worker(stage: Stage, seconds: float) -> None:
    """Kill -9 a worker, which is started again."""
    one = stage.any_worker()
    stage.crew.kill(one)
    stage.wait(seconds)


def kill_broker(stage: Stage, seconds: float) -> None:
    """Kill -9 the broker, and start it again on its directory."""
    stage.servers.kafka.kill()
    stage.wait(seconds)
    stage.servers.kafka.start()


def restart_s3(stage: Stage, seconds: float) -> None:
    """Kill -9 the S3 server, and start it again on its directory."""
    stage.servers.s3.kill()
    stage.wait(seconds)
    stage.servers.s3.start()


def storm(stage: Stage, seconds: float) -> None:
    """Have workers leave and join the group, one after the other."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        one = stage.any_worker()
        terminate(stage, one)
        stage.wait(stage.random.uniform(0, 2))
        stage.crew.join(one)
        stage.wait(stage.random.uniform(1, 4))


def sigterm(stage: Stage, seconds: float) -> None:
    """Stop each worker under load, as a deployment does."""
    for one in stage.crew.workers:
        terminate(stage, one)
        stage.crew.join(one)
        stage.wait(seconds / len(stage.crew.workers))


def terminate(stage: Stage, one: object) -> None:
    """Stop a worker, and note if that was not in order."""
    began = time.monotonic()
    code = stage.crew.leave(one)
    if code:
        took = time.monotonic() - began
        stage.notes.append(f"{one.name} ended with exit code {code}, {took:.0f} s after SIGTERM")


def at_s3(stage: Stage) -> int:
    """Count requests that suffered."""
    return stage.servers.to_s3.injected


def at_kafka(stage: Stage) -> int:
    """Count connections that suffered, and what was on its way in them."""
    return stage.servers.to_kafka.injected


def outages(stage: Stage) -> int:
    """Count what workers noticed: who is refused does not get to the proxy."""
    return stage.crew.outages()


def ended(stage: Stage) -> int:
    """Count workers that were ended."""
    return stage.crew.ended


def anything(stage: Stage) -> int:
    """Count all of it."""
    return sum(count(stage) for count in (at_s3, at_kafka, outages, ended))


SCENARIOS = [
    Scenario("none", nothing, short=2),
    Scenario("kill -9 of a worker", kill_worker, ended, seconds=10, short=1),
    Scenario("kill -9 and restart of the broker", kill_broker, at_kafka, seconds=5, short=1),
    Scenario("kill -9 and restart of S3", restart_s3, at_s3, seconds=5, short=1),
    Scenario("SIGTERM under load", sigterm, ended, short=4),
    Scenario("rebalance storm", storm, ended, seconds=40, short=8),
    Scenario("S3 outage", to_s3(Refused()), outages, seconds=90, short=12),
    Scenario("S3 throttles 50 %", to_s3(THROTTLED), at_s3),
    Scenario("S3 slow, 0.2 to 1 s", to_s3(Slow(latency=0.2, jitter=0.8)), at_s3, short=0),
    Scenario("S3 connections reset in a body", to_s3(Reset()), at_s3),
    Scenario("S3 black hole", to_s3(BlackHole()), at_s3, short=6),
    Scenario("S3 answers 500", to_s3(INTERNAL_ERROR), at_s3, short=0),
    Scenario("S3 answers 503 SlowDown", to_s3(SLOW_DOWN), at_s3),
    Scenario("S3 answers 403", to_s3(ACCESS_DENIED), at_s3, short=2),
    Scenario("S3 answers 404", to_s3(NO_SUCH_KEY), at_s3, short=2),
    Scenario("S3 bodies truncated", to_s3(Truncated()), at_s3, short=0),
    Scenario("S3 bodies with wrong bytes", to_s3(WrongBytes()), at_s3, short=2),
    Scenario("S3 bodies trickle", to_s3(Trickle()), at_s3, short=6),
    Scenario(
        "Kafka slow, 0.1 to 0.3 s", to_kafka(Slow(latency=0.1, jitter=0.2)), at_kafka, short=0
    ),
    Scenario("Kafka away", to_kafka(Refused()), at_kafka),
    Scenario("Kafka connections reset", to_kafka(Reset()), at_kafka, seconds=5, short=2),
    Scenario("Kafka black hole", to_kafka(BlackHole()), at_kafka, short=6),
]

#: What the variant with exactly-once goes through, and how long in a short campaign.
_OF_TRANSACTIONS = {
    "none": 2.0,
    "kill -9 of a worker": 1.0,
    "kill -9 and restart of the broker": 1.0,
    "SIGTERM under load": 4.0,
    "rebalance storm": 8.0,
    "S3 outage": 6.0,
    "S3 throttles 50 %": 0.0,
}
EXACTLY_ONCE = [
    replace(one, short=_OF_TRANSACTIONS[one.name])
    for one in SCENARIOS
    if one.name in _OF_TRANSACTIONS
]


def at_random(minutes: float, say: Callable[[str], None]) -> Act:
    """Return one fault after the other, at random and without waiting for recovery."""
    faults = [one for one in SCENARIOS if one.act is not nothing]

    def act(stage: Stage, _: float) -> None:
        until = time.monotonic() + 60 * minutes
        while time.monotonic() < until:
            scenario = stage.random.choice(faults)
            seconds = stage.random.uniform(1, 20)
            say(f"{scenario.name}, {seconds:.0f} s; {len(stage.watcher.missing())} under way")
            scenario.act(stage, seconds)
            stage.wait(stage.random.uniform(1, 10))

    return act
