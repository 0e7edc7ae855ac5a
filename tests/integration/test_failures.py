"""What becomes of records when the store or an object is away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workers import APPS, Process, Worker, committed, read_until, values

from faust_s3.claim import Claim, parse
from faust_s3.local import SeaweedFS


def produce(environ: dict[str, str], tmp_path: Path, count: int = 20) -> Process:
    script = str(APPS / "mixed_producer.py")
    return Process(script, "ada", str(count), environ=environ, cwd=tmp_path)


def test_an_outage_holds_records_back(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """While the store is away nothing is delivered or lost; it goes on by itself."""
    stack.create_topic(environ["RECORDS"], partitions=1)
    stack.create_topic(environ["SEEN"], partitions=1)
    with SeaweedFS(bucket=stack.bucket) as server:
        elsewhere = {"FAUST_S3_ENDPOINT_URL": server.endpoint_url}
        environ = {**environ, **elsewhere}
        assert produce(environ, tmp_path, 30).wait() == 0
        server.kill()
        # It was a worker before the outage; a new one would wait for the store.
        worker = start_worker("mixed", **elsewhere, FAUST_S3_CHECK_ON_START="no").ready()
        worker.wait_for("is unavailable")
        sender = produce(environ, tmp_path, 5)
        sender.wait_for("is unavailable")
        server.start()
        assert sender.wait() == 0
        seen = values(read_until(stack.bootstrap, environ["SEEN"], lambda found: len(found) >= 35))
        assert [report["seq"] for report in seen] == [*range(30), *range(5)]
        worker.wait_for("answers again")
        assert worker.stop() == 0


@pytest.fixture
def offloaded(stack: Any, environ: dict[str, str], tmp_path: Path) -> tuple[int, Claim]:
    """Twenty records lie on the topic; offset and claim of one of them, not the first."""
    stack.create_topic(environ["RECORDS"], partitions=1)
    stack.create_topic(environ["SEEN"], partitions=1)
    assert produce(environ, tmp_path).wait() == 0
    records = read_until(stack.bootstrap, environ["RECORDS"], lambda found: len(found) >= 20)
    for record in records[1:]:
        claim = parse(record.value) if record.value else None
        if isinstance(claim, Claim):
            return record.offset, claim
    raise AssertionError("no record was offloaded")


@pytest.fixture
def lost(offloaded: tuple[int, Claim], client: Any) -> tuple[int, Claim, bytes]:
    """The same, and the payload, which the store has lost."""
    offset, claim = offloaded
    place = {"Bucket": claim.bucket, "Key": claim.key}
    payload = client.get_object(**place)["Body"].read()
    client.delete_object(**place)
    return offset, claim, payload


def test_raise_ends_the_worker_uncommitted(
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
    client: Any,
    lost: tuple[int, Claim, bytes],
) -> None:
    """A claim beyond redemption stops the worker; once mended, everything is delivered."""
    offset, claim, payload = lost
    worker = start_worker("mixed")
    assert worker.wait(90) != 0
    says = f" offset {offset}, which it does not acknowledge: there is no such object"
    assert says in worker.output
    assert claim.key in worker.output
    position = committed(stack.bootstrap, environ["APP_ID"], environ["RECORDS"])
    assert position is None or position <= offset

    client.put_object(Bucket=claim.bucket, Key=claim.key, Body=payload)
    worker = start_worker("mixed").ready()

    def all_seen(records: list[Any]) -> bool:
        return {report["seq"] for report in values(records)} == set(range(20))

    read_until(stack.bootstrap, environ["SEEN"], all_seen)
    assert worker.stop() == 0


def test_skip_goes_on(
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
    lost: tuple[int, Claim, bytes],
    tmp_path: Path,
) -> None:
    """With on_bad_claim="skip" the record is logged and acknowledged, the others arrive.

    A worker that is started again does not see it, nor any of them.
    """
    offset, _, _ = lost
    worker = start_worker("mixed", FAUST_S3_ON_BAD_CLAIM="skip").ready()
    seen = values(read_until(stack.bootstrap, environ["SEEN"], lambda found: len(found) >= 19))
    assert [report["seq"] for report in seen] == [seq for seq in range(20) if seq != offset]
    assert worker.stop() == 0
    assert f"offset={offset}" in worker.output
    assert committed(stack.bootstrap, environ["APP_ID"], environ["RECORDS"]) == 20

    again = start_worker("mixed", FAUST_S3_ON_BAD_CLAIM="skip").ready()
    assert produce(environ, tmp_path, 1).wait() == 0
    later = values(read_until(stack.bootstrap, environ["SEEN"], lambda found: len(found) > 19))
    assert again.stop() == 0
    assert later[19:] == later[:1]  # numbers begin anew: it is the one that was sent just now
    assert "skipped a record" not in again.output


def test_a_refused_upload_does_not_commit_its_source(
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
    offloaded: tuple[int, Claim],
) -> None:
    """An agent that may not write stops its worker; nothing it read is acknowledged."""
    offset, _ = offloaded
    copies = f"{environ['RECORDS']}-copies"
    stack.create_topic(copies, partitions=1)
    keys = stack.reader_keys
    worker = start_worker("copying_app", AWS_ACCESS_KEY_ID=keys.access_key,
                          AWS_SECRET_ACCESS_KEY=keys.secret_key)  # fmt: skip
    assert worker.wait(90) != 0
    assert "AccessDenied" in worker.output
    position = committed(stack.bootstrap, environ["APP_ID"], environ["RECORDS"])
    assert position is None or position <= offset

    worker = start_worker("copying_app").ready()
    read_until(stack.bootstrap, copies, lambda found: len(found) >= 20)
    assert worker.stop() == 0
