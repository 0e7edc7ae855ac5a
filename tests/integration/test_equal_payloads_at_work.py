"""A payload that is sent many times, through a real worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workers import Worker, read_until


def test_equal_payloads(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker]
) -> None:
    """It is stored once, each record has a claim, and the agent gets all of them whole."""
    stack.create_topic(environ["RECORDS"], partitions=1)
    worker = start_worker("equal_app")
    worker.wait_for("20 records whole, stored 1 times", 120)
    records = read_until(stack.bootstrap, environ["RECORDS"], lambda found: len(found) == 20)
    assert len({record.value for record in records}) == 1
    assert worker.stop() == 0


def test_without_a_window(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker]
) -> None:
    """With ``dedup_window=0`` it is stored each time."""
    stack.create_topic(environ["RECORDS"], partitions=1)
    worker = start_worker("equal_app", FAUST_S3_DEDUP_WINDOW="0")
    worker.wait_for("20 records whole, stored 20 times", 120)
    assert worker.stop() == 0
