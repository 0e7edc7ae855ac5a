"""No record is lost or repeated because partitions were assigned, whatever Faust does there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from workers import Worker, produce

BACKLOG = 100
#: Assignments until the worker reads the backlog.
ASSIGNMENTS = {"late": 2, "tables": 1}


@pytest.fixture
def backlog(stack: Any, environ: dict[str, str]) -> str:
    """Return a topic with records on it."""
    environ["OTHERS"] = f"others-{uuid4().hex[:8]}"
    for topic in (environ["RECORDS"], environ["OTHERS"]):
        stack.create_topic(topic, partitions=1)
    send(stack, environ, *range(BACKLOG))
    return environ["RECORDS"]


def send(stack: Any, environ: dict[str, str], *numbers: int) -> None:
    values = [json.dumps({"number": number}).encode() for number in numbers]
    produce(stack.bootstrap, environ["RECORDS"], *((None, value) for value in values))


def seen_by(*workers: Worker) -> list[int]:
    return [int(n) for worker in workers for n in re.findall(r"seen (\d+)\.", worker.output)]


def read_all(stack: Any, environ: dict[str, str], worker: Worker, *, assignments: int) -> None:
    """Wait until a worker has read what was there, and one more record, behind it all."""
    worker.wait_for("Worker ready", times=assignments)
    send(stack, environ, BACKLOG)
    worker.wait_for(f"seen {BACKLOG}.")


@pytest.mark.parametrize("case", ["late", "tables"])
def test_a_backlog_is_read(
    stack: Any,
    environ: dict[str, str],
    backlog: str,
    start_worker: Callable[..., Worker],
    case: str,
) -> None:
    """By a stream that an ``@app.task`` makes, and by a worker with tables."""
    worker = start_worker("rebalancing", CASE=case)
    read_all(stack, environ, worker, assignments=ASSIGNMENTS[case])
    assert worker.stop() == 0
    assert seen_by(worker) == list(range(BACKLOG + 1))


@pytest.mark.parametrize("end", [Worker.stop, Worker.kill])
def test_a_restart_over_a_backlog(
    stack: Any,
    environ: dict[str, str],
    backlog: str,
    start_worker: Callable[..., Worker],
    end: Callable[[Worker], object],
) -> None:
    """By a worker with tables, which recovers them first; exact, if it was asked to stop."""
    first = start_worker("rebalancing", CASE="tables")
    first.wait_for(f"seen {BACKLOG // 8}.")
    end(first)
    second = start_worker("rebalancing", CASE="tables")
    read_all(stack, environ, second, assignments=1)
    assert second.stop() == 0
    seen = seen_by(first, second)
    assert sorted(set(seen)) == list(range(BACKLOG + 1))
    if end is Worker.stop:
        assert seen == list(range(BACKLOG + 1))


@pytest.mark.parametrize("case", ["late", "tables"])
@pytest.mark.parametrize("setting", [{"PLAIN": "1"}, {"FAUST_S3_MEND_REBALANCES": "false"}])
def test_faust_by_itself(
    stack: Any,
    environ: dict[str, str],
    backlog: str,
    start_worker: Callable[..., Worker],
    setting: dict[str, str],
    case: str,
) -> None:
    """Loses records without S3 too; else ``mend_rebalances`` is needless.

    Those of a late stream; and those of a worker with tables that was killed before it
    committed anything.
    """
    workers = []
    if case == "tables":
        workers.append(start_worker("rebalancing", CASE=case, **setting))
        workers[0].wait_for(f"seen {BACKLOG // 8}.")
        workers[0].kill()
    workers.append(start_worker("rebalancing", CASE=case, **setting))
    read_all(stack, environ, workers[-1], assignments=ASSIGNMENTS[case])
    assert workers[-1].stop() == 0
    lost = set(range(BACKLOG)) - set(seen_by(*workers))
    print(setting, case, "lost", len(lost), "of", BACKLOG)
    assert lost
