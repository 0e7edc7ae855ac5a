"""Sending while the store is away or refuses, inside agents and elsewhere.

With the tests that ``docs/reliability.md`` names, each promise about failures has one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from workers import APPS, Process, Worker, committed, produce, read_until

from faust_s3.claim import parse
from faust_s3.local import SeaweedFS

COUNT = 12
WINDOW = 3


def test_agents_wait_for_the_store(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker]
) -> None:
    """An agent sends no more than its window, nothing is committed; then all of it arrives."""
    for topic in ("RECORDS", "SEEN"):
        stack.create_topic(environ[topic], partitions=1)
    numbers = ((None, b"%d" % number) for number in range(COUNT))
    produce(stack.bootstrap, environ["RECORDS"], *numbers)
    with SeaweedFS(bucket=stack.bucket) as server:
        server.kill()
        worker = start_worker(
            "numbers_app",
            FAUST_S3_ENDPOINT_URL=server.endpoint_url,
            FAUST_S3_CHECK_ON_START="no",
            FAUST_S3_SEND_WINDOW=str(WINDOW),
            FAUST_S3_SEND_TIMEOUT="0.01",  # which is for those that are no agents
        )
        worker.wait_for("is unavailable")
        worker.wait_for(f"sent {WINDOW - 1}.")
        # Several commits later: the group has a place to begin at, or none, but no progress.
        for _ in range(10):
            assert committed(stack.bootstrap, environ["APP_ID"], environ["RECORDS"]) in (None, 0)
        assert f"sent {WINDOW + 1}." not in worker.output
        assert worker.output.count("is unavailable") == 1, "one line, not one per try"

        server.start()
        sent = read_until(stack.bootstrap, environ["SEEN"], lambda found: len(found) == COUNT)
        assert all(parse(record.value) is not None for record in sent)
        worker.wait_for(f"sent {COUNT - 1}.")
        assert worker.stop() == 0
    assert committed(stack.bootstrap, environ["APP_ID"], environ["RECORDS"]) == COUNT


def test_what_was_sent_for_revoked_partitions_is_given_up(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker]
) -> None:
    """A rebalance does not wait for the store, and nothing is published after it that is stale."""
    for topic in ("RECORDS", "SEEN"):
        stack.create_topic(environ[topic], partitions=2)
    numbers = [b"%d" % number for number in range(COUNT)]
    produce(stack.bootstrap, environ["RECORDS"], *((number, number) for number in numbers))

    def all_written(found: list[Any]) -> bool:
        return {record.key for record in found} >= set(numbers)

    with SeaweedFS(bucket=stack.bucket) as server:
        server.kill()
        away = {"FAUST_S3_ENDPOINT_URL": server.endpoint_url, "FAUST_S3_CHECK_ON_START": "no"}
        first = start_worker("numbers_app", **away).ready()
        first.wait_for("sent ", times=COUNT)
        second = start_worker("numbers_app")
        second.wait_for("sent ")
        first.wait_for("messages were stored")
        server.start()
        read_until(stack.bootstrap, environ["SEEN"], all_written)
        assert first.stop() == 0
        assert second.stop() == 0
    ends = [b"end %d" % number for number in range(8)]  # some in each partition
    produce(stack.bootstrap, environ["SEEN"], *((end, b"") for end in ends))
    written = read_until(
        stack.bootstrap,
        environ["SEEN"],
        lambda found: {record.key for record in found} >= set(ends),
    )
    assert sorted(record.key for record in written) == sorted([*numbers, *ends])


def sending(environ: dict[str, str], tmp_path: Path, **more: str) -> Process:
    script = str(APPS / "mixed_producer.py")
    return Process(script, "ada", "20", environ={**environ, **more}, cwd=tmp_path)


def test_others_wait_no_longer_than_they_want(
    stack: Any, environ: dict[str, str], tmp_path: Path
) -> None:
    """Outside agents the caller is told after ``send_timeout`` that the store is away."""
    stack.create_topic(environ["RECORDS"], partitions=1)
    with SeaweedFS(bucket=stack.bucket) as server:
        server.kill()
        elsewhere = {"FAUST_S3_ENDPOINT_URL": server.endpoint_url, "FAUST_S3_SEND_TIMEOUT": "1"}
        sender = sending(environ, tmp_path, **elsewhere)
        assert sender.wait() != 0
    assert "StoreUnavailable: " in sender.output


def test_others_are_told_of_refusals(stack: Any, environ: dict[str, str], tmp_path: Path) -> None:
    """Outside agents the caller gets the error that will not go away, at once."""
    stack.create_topic(environ["RECORDS"], partitions=1)
    keys = stack.reader_keys
    sender = sending(environ, tmp_path, AWS_ACCESS_KEY_ID=keys.access_key,
                     AWS_SECRET_ACCESS_KEY=keys.secret_key)  # fmt: skip
    assert sender.wait() != 0
    assert "AccessDenied: " in sender.output
    assert "is unavailable" not in sender.output
