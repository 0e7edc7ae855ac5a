"""A worker that ends in the middle of its work, in whichever way, loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from apps.mixed_producer import expected
from workers import APPS, Process, Worker, produce, read_until, values

from faust_s3.local import LatencyProxy

COUNT = 120
THRESHOLD = 100_000


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_worker_that_ends_at_work(
    end: str,
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
    tmp_path: Path,
) -> None:
    """Killed or stopped with downloads under way: the next one delivers what is left."""
    stack.create_topic(environ["RECORDS"], partitions=2)
    stack.create_topic(environ["SEEN"], partitions=1)
    script = str(APPS / "mixed_producer.py")
    sender = Process(script, "ada", str(COUNT), environ=environ, cwd=tmp_path)
    for seen_so_far in (20, 50):
        worker = start_worker("mixed").ready()
        read_until(stack.bootstrap, environ["SEEN"], lambda found: len(found) >= seen_so_far)  # noqa: B023
        if end == "kill":
            worker.kill()
        else:
            assert worker.stop() == 0
    assert sender.wait(120) == 0, sender.output
    worker = start_worker("mixed").ready()

    def all_seen(records: list[Any]) -> bool:
        return {report["seq"] for report in values(records)} == set(range(COUNT))

    digests = expected("ada", COUNT, THRESHOLD)
    for report in values(read_until(stack.bootstrap, environ["SEEN"], all_seen)):
        assert report["sha256"] == digests[report["seq"]]
    assert worker.stop() == 0


def test_a_sender_that_is_killed_leaves_no_claim_without_its_object(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """Object first, claim second: whatever is on the topic can be read."""
    stack.create_topic(environ["RECORDS"], partitions=1)
    stack.create_topic(environ["SEEN"], partitions=1)
    script = str(APPS / "mixed_producer.py")
    sender = Process(script, "ada", str(COUNT), environ=environ, cwd=tmp_path)
    read_until(stack.bootstrap, environ["RECORDS"], lambda found: len(found) >= 30)
    sender.kill()
    sent = read_until(stack.bootstrap, environ["RECORDS"], lambda found: len(found) >= 30)
    worker = start_worker("mixed").ready()
    digests = expected("ada", COUNT, THRESHOLD)
    reports = values(
        read_until(stack.bootstrap, environ["SEEN"], lambda found: len(found) >= len(sent))
    )
    assert [report["seq"] for report in reports[: len(sent)]] == list(range(len(sent)))
    for report in reports:
        assert report["sha256"] == digests[report["seq"]]
    assert worker.stop() == 0


def test_a_worker_with_100_mb_in_flight(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker]
) -> None:
    """It stops, though its store says nothing, and the next worker sends what it did not."""
    stack.create_topic(environ["RECORDS"], partitions=1)
    stack.create_topic(environ["SEEN"], partitions=1)
    count, size = 50, 2_000_000
    with LatencyProxy(stack.endpoint_url, latency=0) as proxy:
        worker = start_worker(
            "numbers_app",
            SIZES=f"{size} {size}",
            FAUST_S3_ENDPOINT_URL=proxy.endpoint_url,
            FAUST_S3_SEND_WINDOW_BYTES=str(2 * count * size),
        ).ready()
        proxy.latency = 3600
        produce(stack.bootstrap, environ["RECORDS"], *((None, b"%d" % n) for n in range(count)))
        worker.wait_for(f"sent {count - 1}.")
        assert worker.stop(timeout=30) == 0
    second = start_worker("numbers_app", SIZES=f"{size} {size}").ready()
    sent = read_until(stack.bootstrap, environ["SEEN"], lambda found: len(found) >= count)
    assert [record.key for record in sent] == [b"%d" % n for n in range(count)]
    assert second.stop() == 0
