"""How the figures of a campaign are made."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import run
from campaign import Row, _longest_stall, _play_one
from checker import Sent, Source
from scenarios import Scenario
from table import table
from watcher import Seen, Watcher


def watched(*seen: tuple[int, float]) -> Any:
    """Return what has seen results of sources at times."""
    return SimpleNamespace(
        seen=[SimpleNamespace(source=Source(0, offset), at=at) for offset, at in seen]
    )


@pytest.mark.parametrize(
    ("seen", "stall"),
    [
        ([], 10.0),
        ([(0, 1.0), (1, 3.0), (2, 8.0)], 5.0),
        ([(0, 1.0), (1, 3.0), (1, 6.0), (2, 8.0)], 5.0),
        ([(0, 6.0), (1, 7.0)], 6.0),
        ([(0, 1.0), (1, 2.0)], 8.0),
        ([(0, -1.0), (1, 5.0), (2, 11.0)], 5.0),
    ],
)
def test_stalls(seen: list[tuple[int, float]], stall: float) -> None:
    """The longest time without a result of something new, from end to end."""
    assert _longest_stall(watched(*seen), 0.0, 10.0) == stall


def test_what_is_lost_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes its own row red, and not those of the faults after it."""
    watcher = Watcher("", "in", "out", partitions=1)

    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("campaign.time", SimpleNamespace(monotonic=lambda: clock.now))

    def one_more(seconds: float) -> None:
        clock.now += seconds
        number = len(watcher.sent)
        source = Source(0, number)
        watcher.sent.append(Sent(number, b"key", source))
        if number != 7:
            watcher.seen.append(Seen(number, b"key", source, source, 0.0, "", None))

    stage: Any = SimpleNamespace(watcher=watcher, wait=one_more)

    def work(stage: Any, _: float) -> None:
        for _ in range(5):
            stage.wait(0)

    given_up: set[Source] = set()
    rows = [_play_one(stage, Scenario("none", work), 0.0, 1.0, print, given_up) for _ in range(2)]
    assert [row.recovered is None for row in rows] == [True, False]
    assert given_up == {Source(0, 7)}


def test_the_table() -> None:
    """A line for each row, in columns."""
    rows = [Row("none", 120, 0, 0, 1.26, 0.0), Row("S3 away", 7, 1, 12, 91.0, hits=3)]
    assert table(rows).splitlines() == [
        "| fault   | hits | records | lost | duplicated | longest stall | time to recover |",
        "|---------|-----:|--------:|-----:|-----------:|--------------:|----------------:|",
        "| none    |      |     120 |    0 |          0 |         1.3 s |           0.0 s |",
        "| S3 away |    3 |       7 |    1 |         12 |        91.0 s |           never |",
    ]


@pytest.mark.parametrize(
    ("row", "problems"),
    [
        (Row("none", 120, recovery=0.0), []),
        (Row("S3 away", 120, recovery=0.0, hits=1), []),
        (Row("S3 away", 120, recovery=0.0, hits=0), ["the fault has hit nothing"]),
        (Row("S3 away", 120, hits=1), ["no recovery"]),
        (Row("none", recovery=0.0), ["no records"]),
        (Row("none", 9, 1, recovery=0.0, broken={"lost": [7]}), ["lost [7]"]),
    ],
)
def test_what_makes_a_campaign_fail(row: Row, problems: list[str]) -> None:
    """A broken promise, and also a fault that shows nothing."""
    assert row.problems() == problems


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_without_kafka_nothing_is_played(
    ci: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so, and CI has to have what it takes."""
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(run, "available", lambda: "there is no java")
    monkeypatch.setattr("sys.argv", ["run.py", "--short"])
    assert run.main() == code
    assert capsys.readouterr().err == "no faults were injected: there is no java\n"
