"""What becomes of records when the store or an object is away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from workers import APPS, Process, Worker, read_until, values

from faust_s3.claim import Claim, parse
from faust_s3.local import SeaweedFS
from faust_s3.stores import Location
from faust_s3.stores.s3 import S3Store


async def committed(bootstrap: str, group: str, topic: str) -> int | None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        offset: int | None = await consumer.committed(TopicPartition(topic, 0))
        return offset
    finally:
        await consumer.stop()


def produce(environ: dict[str, str], tmp_path: Path, count: int = 20) -> Process:
    script = str(APPS / "mixed_producer.py")
    return Process(script, "ada", str(count), environ=environ, cwd=tmp_path)


async def test_an_outage_holds_records_back(
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
        worker = start_worker("mixed", **elsewhere).ready()
        worker.wait_for("is unavailable")
        sender = produce(environ, tmp_path, 5)
        sender.wait_for("is unavailable")
        server.start()
        assert sender.wait() == 0
        seen = values(
            await read_until(stack.bootstrap, environ["SEEN"], lambda found: len(found) >= 35)
        )
        assert [report["seq"] for report in seen] == [*range(30), *range(5)]
        worker.wait_for("answers again")
        assert worker.stop() == 0


async def _a_claim(stack: Any, topic: str, count: int) -> tuple[int, Claim]:
    records = await read_until(stack.bootstrap, topic, lambda found: len(found) >= count)
    for record in records[1:]:
        claim = parse(record.value) if record.value else None
        if isinstance(claim, Claim):
            return record.offset, claim
    raise AssertionError("no record was offloaded")


def _store(stack: Any) -> S3Store:
    import boto3

    session = boto3.Session(stack.access_key, stack.secret_key, region_name=stack.region)
    return S3Store(session=session, endpoint_url=stack.endpoint_url, path_style=True)


async def test_raise_ends_the_worker_uncommitted(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """A claim beyond redemption stops the worker; once mended, everything is delivered."""
    topic = environ["RECORDS"]
    stack.create_topic(topic, partitions=1)
    stack.create_topic(environ["SEEN"], partitions=1)
    assert produce(environ, tmp_path).wait() == 0
    offset, claim = await _a_claim(stack, topic, 20)
    store = _store(stack)
    location = Location(claim.bucket, claim.key)
    payload = await store.get(location, max_size=claim.stored_size)
    await store.delete(location)

    worker = start_worker("mixed")
    assert worker.wait(90) != 0
    assert "there is no such object" in worker.output
    assert claim.key in worker.output
    position = await committed(stack.bootstrap, environ["APP_ID"], topic)
    assert position is None or position <= offset

    await store.put(location, payload)
    await store.close()
    worker = start_worker("mixed").ready()

    def all_seen(records: list[Any]) -> bool:
        return {report["seq"] for report in values(records)} == set(range(20))

    await read_until(stack.bootstrap, environ["SEEN"], all_seen)
    assert worker.stop() == 0


async def test_skip_goes_on(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """With on_bad_claim="skip" the record is logged and acknowledged, the others arrive."""
    topic = environ["RECORDS"]
    stack.create_topic(topic, partitions=1)
    stack.create_topic(environ["SEEN"], partitions=1)
    assert produce(environ, tmp_path).wait() == 0
    offset, claim = await _a_claim(stack, topic, 20)
    store = _store(stack)
    await store.delete(Location(claim.bucket, claim.key))
    await store.close()

    worker = start_worker("mixed", FAUST_S3_ON_BAD_CLAIM="skip").ready()
    seen = values(
        await read_until(stack.bootstrap, environ["SEEN"], lambda found: len(found) >= 19)
    )
    assert [report["seq"] for report in seen] == [seq for seq in range(20) if seq != offset]
    assert worker.stop() == 0
    assert f"offset={offset}" in worker.output
    assert await committed(stack.bootstrap, environ["APP_ID"], topic) == 20


async def test_a_refused_upload_does_not_commit_its_source(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """An agent that may not write stops its worker; nothing it read is acknowledged."""
    topic, copies = environ["RECORDS"], f"{environ['RECORDS']}-copies"
    for name in (topic, copies):
        stack.create_topic(name, partitions=1)
    assert produce(environ, tmp_path).wait() == 0
    keys = stack.reader_keys
    worker = start_worker("copying_app", AWS_ACCESS_KEY_ID=keys.access_key,
                          AWS_SECRET_ACCESS_KEY=keys.secret_key)  # fmt: skip
    assert worker.wait(90) != 0
    assert "AccessDenied" in worker.output
    offset, _ = await _a_claim(stack, topic, 20)
    position = await committed(stack.bootstrap, environ["APP_ID"], topic)
    assert position is None or position <= offset

    worker = start_worker("copying_app").ready()
    await read_until(stack.bootstrap, copies, lambda found: len(found) >= 20)
    assert worker.stop() == 0
