"""What every integration test needs: time, an environment for apps, workers that end with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from workers import Worker

#: What only Apache Kafka can show: Tansu has no transactions, and noida-db keeps members that
#: were killed in their group.
collect_ignore = (
    [] if os.environ.get("FAUST_S3_TEST_BROKER") == "kafka" else ["test_exactly_once.py"]
)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let tests take ten minutes: what they wait for has limits of its own."""
    item.add_marker(pytest.mark.time_limit(600))


@pytest.fixture
def environ(stack: Any) -> dict[str, str]:
    """Environment of an app of its own, on the stack's servers."""
    unique = uuid4().hex[:8]
    return {
        **stack.environ,
        "KAFKA_BROKER": stack.broker,
        "APP_ID": f"app-{unique}",
        "RECORDS": f"records-{unique}",
        "SEEN": f"seen-{unique}",
        "FAUST_S3_URL": f"s3://{stack.bucket}/{unique}",
    }


@pytest.fixture
def start_worker(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Start ``faust worker`` processes; what a test leaves running is stopped."""
    workers: list[Worker] = []

    def start(app: str, **more: str) -> Worker:
        datadir = tmp_path / f"worker-{len(workers)}"
        worker = Worker(app, environ={**environ, **more}, datadir=datadir)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.kill()
