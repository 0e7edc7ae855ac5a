"""What a worker does before it joins its group."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workers import APPS, Process, Worker, read_until, values

from faust_s3.local import SeaweedFS

WAITS = "the worker waits before it joins its group"


@pytest.mark.parametrize(
    ("app", "wrong", "sentence"),
    [
        ("mixed", {"FAUST_S3_URL": "s3://not-there/x"}, "url 's3://not-there/x' at endpoint_url"),
        ("mixed", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "the credentials that boto3 finds may"),
        ("mixed", {"FAUST_S3_PROFILE": "nobody"}, "profile 'nobody', url"),
        ("starting_app", {"READER": "yes"}, "may write, for this worker sends claims"),
        ("starting_app", {"FAUST_S3_THRESHOLD": "1MB"}, "threshold 1000000 leaves records"),
    ],
)
def test_a_worker_that_cannot_work_does_not_start(
    app: str,
    wrong: dict[str, str],
    sentence: str,
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
) -> None:
    """It says why in one sentence, without a traceback, and joins no group."""
    if wrong.pop("READER", None):
        keys = stack.reader_keys
        wrong |= {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
    worker = start_worker(app, **wrong)
    assert worker.wait(90) == 1
    (told,) = [line for line in worker.output.splitlines() if "[ERROR]" in line]
    assert "the worker does not start: " in told
    assert sentence in told
    assert "Traceback" not in worker.output
    assert "oined group" not in worker.output


def test_a_store_that_is_away_is_waited_for(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """The worker joins its group once the store answers, and does its work."""
    for topic in ("RECORDS", "SEEN"):
        stack.create_topic(environ[topic], partitions=1)
    with SeaweedFS(bucket=stack.bucket) as server:
        environ |= {"FAUST_S3_ENDPOINT_URL": server.endpoint_url}
        script = str(APPS / "mixed_producer.py")
        assert Process(script, "ada", "5", environ=environ, cwd=tmp_path).wait() == 0
        server.kill()
        worker = start_worker("mixed", FAUST_S3_ENDPOINT_URL=server.endpoint_url)
        worker.wait_for(WAITS)
        assert "oined group" not in worker.output
        server.start()
        worker.ready()
        seen = values(read_until(stack.bootstrap, environ["SEEN"], lambda found: len(found) >= 5))
        assert [report["seq"] for report in seen] == [*range(5)]
        assert worker.stop() == 0
    assert worker.output.count(WAITS) == 1


def test_a_worker_that_waits_stops_at_once(start_worker: Callable[..., Worker]) -> None:
    """SIGTERM ends the wait between two requests, and in one that is never answered."""
    nowhere = start_worker("mixed", FAUST_S3_ENDPOINT_URL="http://127.0.0.1:9")
    nowhere.wait_for(WAITS)
    assert nowhere.stop(20) == 0
    assert "Traceback" not in nowhere.output
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        hole = start_worker(
            "mixed",
            FAUST_S3_ENDPOINT_URL=f"http://127.0.0.1:{silent.getsockname()[1]}",
            FAUST_S3_READ_TIMEOUT="300",
            FAUST_S3_REQUEST_TIMEOUT="300",
        )
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(1)
            assert hole.stop(20) == 0
    assert "Traceback" not in hole.output


SEND = """
import asyncio
from mixed import app, records, s3

async def main():
    await records.send(value=b"small")
    await app.producer.stop()
    await s3.close()

asyncio.run(main())
"""


def test_an_app_that_only_sends_is_not_checked(
    stack: Any, environ: dict[str, str], tmp_path: Path
) -> None:
    """Small records need no store, and nothing is asked of one before."""
    stack.create_topic(environ["RECORDS"], partitions=1)
    script = Process(
        *("-c", SEND),
        environ={**environ, "FAUST_S3_ENDPOINT_URL": "http://127.0.0.1:9"},
        cwd=tmp_path,
    )
    assert script.wait() == 0, script.output
    (record,) = read_until(stack.bootstrap, environ["RECORDS"], lambda found: len(found) == 1)
    assert record.value == b"small"
    assert "unavailable" not in script.output
