"""Workers with ``processing_guarantee="exactly_once"``: killed at work, and without a store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from random import Random
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from workers import Worker, committed, produce

from faust_s3.claim import Claim, parse
from faust_s3.local import SeaweedFS

COUNT = 200
THRESHOLD = 20_000


@pytest.fixture
def partitions() -> int:
    """How many the topics have."""
    return 1


@pytest.fixture(autouse=True)
def topics(stack: Any, environ: dict[str, str], partitions: int) -> None:
    """Make the topics."""
    for topic in ("RECORDS", "SEEN"):
        stack.create_topic(environ[topic], partitions=partitions)


@pytest.fixture
def results(
    stack: Any, environ: dict[str, str], partitions: int
) -> Callable[[str], list[ConsumerRecord]]:
    """Read what is in the topic of results, to its end."""

    async def read(isolation: str) -> list[ConsumerRecord]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=stack.bootstrap,
            isolation_level=isolation,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            tps = [TopicPartition(environ["SEEN"], number) for number in range(partitions)]
            consumer.assign(tps)
            found: list[ConsumerRecord] = []
            while batches := await consumer.getmany(timeout_ms=3000):
                found += [record for batch in batches.values() for record in batch]
            return found
        finally:
            await consumer.stop()

    return lambda isolation="read_committed": asyncio.run(read(isolation))


def send_records(stack: Any, environ: dict[str, str], client: Any, count: int) -> list[bytes]:
    """Put records on the topic, every second one as a claim, and return the payloads."""
    source = Random(environ["RECORDS"])
    prefix = environ["FAUST_S3_URL"].rpartition("/")[2]
    payloads, values = [], []
    for number in range(count):
        payload = source.randbytes(2 * THRESHOLD if number % 2 else 100)
        payloads.append(payload)
        if number % 2:
            key = f"{prefix}/in/{number}"
            client.put_object(Bucket=stack.bucket, Key=key, Body=payload)
            size = len(payload)
            payload = Claim(stack.bucket, key, size, size, sha256(payload).digest()).dumps()
        values.append(payload)
    keyed = [(b"%d" % number, value) for number, value in enumerate(values)]
    produce(stack.bootstrap, environ["RECORDS"], *keyed)
    return payloads


def killed_at_work(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker], case: str
) -> Worker:
    """Kill two workers at work, and let a third one commit the rest."""
    for at in (COUNT // 4, COUNT // 2):
        worker = start_worker("exactly_once", CASE=case)
        worker.wait_for(f"worked on {at} ")
        worker.kill()
    worker = start_worker("exactly_once", CASE=case)
    worker.wait_for(f"worked on {COUNT - 1} ")
    while committed(stack.bootstrap, environ["APP_ID"], environ["RECORDS"]) != COUNT:
        pass
    return worker


def payload_of(client: Any, value: bytes) -> bytes:
    claim = parse(value)
    if not isinstance(claim, Claim):
        return value
    payload: bytes = client.get_object(Bucket=claim.bucket, Key=claim.key)["Body"].read()
    assert sha256(payload).digest() == claim.sha256
    return payload


def expected(payloads: list[bytes]) -> dict[str, bytes]:
    results = {}
    for number, payload in enumerate(payloads):
        results |= {f"{number} first": payload[::-1], f"{number} second": payload * 2}
    return results


def test_each_result_exactly_once(
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
    client: Any,
    results: Callable[..., list[ConsumerRecord]],
) -> None:
    """Killed twice at work: whoever reads what is committed sees each result once, whole."""
    payloads = send_records(stack, environ, client, COUNT)
    worker = killed_at_work(stack, environ, start_worker, "s3, on commit")
    assert worker.stop() == 0
    found = [(record.key.decode(), payload_of(client, record.value)) for record in results()]
    assert len(found) == 2 * COUNT
    assert dict(found) == expected(payloads)
    assert committed(stack.bootstrap, environ["APP_ID"], environ["RECORDS"]) == COUNT
    # What was aborted leaves objects, but no claim without one.
    for record in results("read_uncommitted"):
        payload_of(client, record.value)


@pytest.mark.parametrize("partitions", [2])
def test_each_result_exactly_once_through_rebalances(
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
    client: Any,
    results: Callable[..., list[ConsumerRecord]],
) -> None:
    """A second worker joins at work, and takes over when the first one is killed."""
    payloads = send_records(stack, environ, client, COUNT)
    case = {"CASE": "s3, on commit", "PAUSE": "0.1"}
    first = start_worker("exactly_once", **case)
    first.wait_for("worked on ", times=20)
    second = start_worker("exactly_once", **case)
    second.wait_for("worked on ", times=20)
    first.wait_for("Revoking previously assigned partitions", times=2)
    first.kill()
    while len(found := results()) < 2 * COUNT:
        pass
    assert second.stop() == 0
    assert len(found) == 2 * COUNT
    pairs = {record.key.decode(): payload_of(client, record.value) for record in found}
    assert pairs == expected(payloads)


@pytest.mark.parametrize("partitions", [2])
@pytest.mark.parametrize("mends", [True, False])
def test_partitions_that_come_back(
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
    client: Any,
    results: Callable[..., list[ConsumerRecord]],
    mends: bool,
) -> None:
    """A worker goes on with partitions that were another one's; Faust by itself crashes then."""
    payloads = send_records(stack, environ, client, COUNT)
    case = {"CASE": "s3, on commit", "PAUSE": "0.1"}
    first = start_worker("exactly_once", **case, FAUST_S3_MEND_REBALANCES=str(mends).lower())
    first.wait_for("worked on ", times=20)
    second = start_worker("exactly_once", **case)
    second.wait_for("worked on ", times=20)
    second.kill()
    if not mends:
        assert first.wait(120) != 0
        assert "ProducerFenced" in first.output
        return
    while len(found := results()) < 2 * COUNT:
        assert first.running, first.output[-4000:]
    assert first.stop() == 0
    assert len(found) == 2 * COUNT
    pairs = {record.key.decode(): payload_of(client, record.value) for record in found}
    assert pairs == expected(payloads)


def test_transactions_wait_for_uploads(
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
    client: Any,
    results: Callable[..., list[ConsumerRecord]],
) -> None:
    """While uploads are under way nothing that belongs to them is committed; then all of it is."""
    with SeaweedFS(bucket=stack.bucket) as server:
        # The first record needs no store; the results of the second one do.
        large = Random(1).randbytes(THRESHOLD - 1)
        payloads = [b"small", large, b"small, too"]
        keyed = [(b"%d" % number, payload) for number, payload in enumerate(payloads)]
        produce(stack.bootstrap, environ["RECORDS"], *keyed)
        server.kill()
        away = {"FAUST_S3_ENDPOINT_URL": server.endpoint_url, "FAUST_S3_CHECK_ON_START": "no"}
        worker = start_worker("exactly_once", CASE="s3, on commit", **away)
        worker.wait_for("is unavailable")
        worker.wait_for("worked on 2 ")
        while committed(stack.bootstrap, environ["APP_ID"], environ["RECORDS"]) != 1:
            pass
        assert [record.key for record in results()] == [b"0 first", b"0 second"]
        assert committed(stack.bootstrap, environ["APP_ID"], environ["RECORDS"]) == 1

        server.start()
        worker.wait_for("answers again")
        while committed(stack.bootstrap, environ["APP_ID"], environ["RECORDS"]) != 3:
            pass
        found = results()
        assert [record.key.decode() for record in found] == list(expected(payloads))
        assert isinstance(parse(found[3].value), Claim)
        assert worker.stop() == 0


@pytest.mark.parametrize("case", ["plain, unread", "plain", "s3", "s3, unread"])
def test_what_is_not_exactly_once(
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
    client: Any,
    results: Callable[..., list[ConsumerRecord]],
    case: str,
) -> None:
    """Faust's part, without S3 as well: else the two conditions in the docs are needless."""
    if "plain" in case:
        payloads = [b"%d" % number for number in range(COUNT)]
        keyed = [(payload, payload) for payload in payloads]
        produce(stack.bootstrap, environ["RECORDS"], *keyed)
    else:
        send_records(stack, environ, client, COUNT)
    killed_at_work(stack, environ, start_worker, case)
    times = Counter(record.key for record in results())
    repeated = times.total() - len(times)
    print(f"{case}: {len(times)} results, {repeated} repeated")
    assert len(times) == 2 * COUNT
    if "unread" in case:  # else there are one or two, or none if the kills come at other times
        assert repeated
