"""Lazy values and uploads, through real workers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from apps.mixed_producer import expected
from test_failures import committed
from workers import APPS, Process, Worker, read_until, values

from faust_s3.claim import Claim, parse
from faust_s3.local import SeaweedFS

SIZES = (0, 10, 100_001, 20_000_000)
KEYS = [f"{kind}-{size}" for size in SIZES for kind in ("file", "iterator")]


def topics(stack: Any, environ: dict[str, str]) -> None:
    for suffix in ("", "-copies", "-forwarded"):
        stack.create_topic(f"{environ['RECORDS']}{suffix}", partitions=1)
    stack.create_topic(environ["SEEN"], partitions=1)


def upload(environ: dict[str, str], directory: Path) -> Process:
    script = str(APPS / "lazy_app.py")
    return Process(script, str(directory), environ=environ, cwd=directory)


@pytest.mark.parametrize("loops", ["compiled", "pure"])
def test_uploads_and_handles(
    loops: str,
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
    client: Any,
    tmp_path: Path,
) -> None:
    """What a program uploads is read lazily and eagerly, and passed on without an upload."""
    topics(stack, environ)
    sender = upload(environ, tmp_path)
    assert sender.wait() == 0, sender.output
    worker = start_worker("lazy_app", NO_CYTHON="1" if loops == "pure" else "").ready()
    digests = {
        size: hashlib.sha256((tmp_path / f"{size}").read_bytes()).hexdigest() for size in SIZES
    }
    total = 3 * (len(KEYS) + len(SIZES))
    reports = values(
        read_until(stack.bootstrap, environ["SEEN"], lambda found: len(found) >= total)
    )
    lazy = {report["key"]: report for report in reports if report["agent"] == "lazy"}
    eager = {report["key"]: report for report in reports if report["agent"] == "eager"}
    for key in KEYS:
        kind, _, size = key.partition("-")
        wanted = digests[int(size)]
        assert eager[key] == {
            "agent": "eager", "key": key, "size": int(size), "digest": wanted
        }  # fmt: skip
        assert lazy[key] == {
            "agent": "lazy", "key": key, "kind": kind, "size": int(size),
            "stored": int(size) > 100_000, "digest": wanted, "streamed": wanted,
            "loaded": wanted, "chunks": -(-int(size) // 2**23),
        }  # fmt: skip
    for number in range(len(SIZES)):
        assert lazy[f"none-{number}"]["size"] is None
        assert eager[f"none-{number}"]["size"] is None

    grouped = [report for report in reports if report["agent"] == "grouped"]
    assert sorted(report["key"] for report in grouped) == sorted(
        ["none"] * len(SIZES) + [str(size) for size in SIZES] * 2
    )
    assert all(
        report["key"] == "none" or report["digest"] == digests[int(report["key"])]
        for report in grouped
    )

    def records(suffix: str, count: int) -> list[bytes | None]:
        topic = f"{environ['RECORDS']}{suffix}"
        found = read_until(stack.bootstrap, topic, lambda found: len(found) >= count)
        return [record.value for record in found]

    sent = [value for value in records("", len(KEYS) + len(SIZES)) if value is not None]
    assert records("-copies", len(KEYS)) == sent
    assert records("-forwarded", len(KEYS)) == sent
    claims = [claim for value in sent if isinstance(claim := parse(value), Claim)]
    assert all(len(claim.dumps()) <= 128 for claim in claims)
    prefix = environ["FAUST_S3_URL"].rpartition("/")[2]
    listed = client.list_objects_v2(Bucket=stack.bucket, Prefix=f"{prefix}/")["Contents"]
    assert {found["Key"] for found in listed} == {claim.key for claim in claims}
    assert len(listed) == 3  # the small one of both kinds is one, the large ones are two
    assert len([found for found in listed if re.search(r"/[\w-]{22}$", found["Key"])]) == 1
    assert worker.stop() == 0


def produce(environ: dict[str, str], tmp_path: Path, count: int) -> Process:
    script = str(APPS / "mixed_producer.py")
    return Process(script, "ada", str(count), environ=environ, cwd=tmp_path)


def test_a_handle_that_cannot_be_loaded_stops_the_worker(
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
    client: Any,
    tmp_path: Path,
) -> None:
    """What the agent does not catch is not committed; once the object is back it is read."""
    topics(stack, environ)
    environ["ALONE"] = "1"
    assert produce(environ, tmp_path, 20).wait() == 0
    records = read_until(stack.bootstrap, environ["RECORDS"], lambda found: len(found) >= 20)
    offset, claim = next(
        (record.offset, claim)
        for record in records[1:]
        if record.value and isinstance(claim := parse(record.value), Claim)
    )
    whole = client.get_object(Bucket=claim.bucket, Key=claim.key)["Body"].read()
    client.delete_object(Bucket=claim.bucket, Key=claim.key)
    worker = start_worker("lazy_app")
    assert worker.wait(120) != 0
    assert "no such object" in worker.output
    assert f"offset {offset} was not loaded" in worker.output
    assert (committed(stack.bootstrap, environ["APP_ID"], environ["RECORDS"]) or 0) <= offset
    client.put_object(Bucket=claim.bucket, Key=claim.key, Body=whole)
    worker = start_worker("lazy_app").ready()

    digests = expected("ada", 20, 100_000)

    def all_seen(found: list[Any]) -> bool:  # some of them twice
        return {report.get("loaded") for report in values(found)} >= set(digests.values())

    reports = values(read_until(stack.bootstrap, environ["SEEN"], all_seen))
    assert {report.get("loaded") for report in reports} == set(digests.values())
    assert worker.stop() == 0


def test_a_worker_stops_while_a_handle_waits_for_the_store(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """Nothing is committed that was not loaded, and the next worker goes on from there."""
    topics(stack, environ)
    with SeaweedFS(bucket=stack.bucket) as server:
        elsewhere = {"FAUST_S3_ENDPOINT_URL": server.endpoint_url, "ALONE": "1"}
        environ = {**environ, **elsewhere}
        assert produce(environ, tmp_path, 20).wait() == 0
        records = read_until(stack.bootstrap, environ["RECORDS"], lambda found: len(found) >= 20)
        first = next(
            record.offset
            for record in records
            if record.value and isinstance(parse(record.value), Claim)
        )
        server.kill()
        worker = start_worker("lazy_app", **elsewhere, FAUST_S3_CHECK_ON_START="no").ready()
        worker.wait_for("is unavailable")
        worker.stop(60)
        assert (committed(stack.bootstrap, environ["APP_ID"], environ["RECORDS"]) or 0) <= first
        server.start()
        worker = start_worker("lazy_app", **elsewhere).ready()
        digests = set(expected("ada", 20, 100_000).values())

        def all_seen(found: list[Any]) -> bool:
            return {report.get("loaded") for report in values(found)} >= digests

        read_until(stack.bootstrap, environ["SEEN"], all_seen)
        assert worker.stop() == 0
