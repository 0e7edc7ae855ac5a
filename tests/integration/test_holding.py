"""A worker whose store is away for longer than any of Kafka's patience."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from time import monotonic
from typing import Any

import boto3
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from workers import Worker, committed, produce, read_until, values

from faust_s3 import S3
from faust_s3.local import SeaweedFS

#: Records in one fetch, for a buffer of 20.
COUNT = 300
#: Seconds; the app's session may be silent for 6 s, and not ask for records for 10 s.
OUTAGE = 40.0
#: Seconds between two looks at whether all is well meanwhile.
INTERVAL = 2.0
#: Seconds within which everything goes on.
SOON = 15.0


async def members(bootstrap: str, group: str) -> list[str]:
    """Return the ids of a group's members; who leaves and joins again gets another one."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        (answer,) = await admin.describe_consumer_groups([group])
        (described,) = answer.groups
        return [member[0] for member in described[5]]
    finally:
        await admin.close()


async def produce_at_once(bootstrap: str, topic: str, values: list[bytes]) -> None:
    """Send values so that they come in one fetch."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, linger_ms=200, max_batch_size=len(values) * 1000
    )
    await producer.start()
    try:
        await asyncio.gather(*[await producer.send(topic, value) for value in values])
    finally:
        await producer.stop()


def claims(server: SeaweedFS, url: str, topic: str) -> list[bytes]:
    """Store numbered values, and return their claims."""
    session = boto3.Session(
        aws_access_key_id=server.keys.access_key,
        aws_secret_access_key=server.keys.secret_key,
        region_name=server.region,
    )
    s3 = S3(
        None,
        url,
        session=session,
        endpoint_url=server.endpoint_url,
        path_style=True,
        threshold=1000,
    )
    codec = s3.codec_for(topic)
    try:
        return [codec.dumps(json.dumps([n, "x" * 2000]).encode()) for n in range(COUNT)]
    finally:
        asyncio.run(s3.close())


@pytest.mark.parametrize("others", ["yes", "no"])
def test_a_reader_holds_its_place(
    others: str, stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker]
) -> None:
    """It stays in the group, others go on meanwhile, and it goes on in order within seconds."""
    group = environ["APP_ID"]
    environ |= {"PINGS": f"pings-{group}", "PONGS": f"pongs-{group}", "OTHERS": others}
    for topic in ("RECORDS", "SEEN", "PINGS", "PONGS"):
        stack.create_topic(environ[topic], partitions=1)
    with SeaweedFS(bucket=stack.bucket) as server:
        sent = claims(server, environ["FAUST_S3_URL"], environ["RECORDS"])
        worker = start_worker("holding_app", FAUST_S3_ENDPOINT_URL=server.endpoint_url).ready()
        produce(stack.bootstrap, environ["RECORDS"], (None, sent[0]))
        read_until(stack.bootstrap, environ["SEEN"], lambda found: len(found) == 1)
        before = asyncio.run(members(stack.bootstrap, group))
        assert len(before) == 1
        server.kill()
        away = monotonic()
        asyncio.run(produce_at_once(stack.bootstrap, environ["RECORDS"], sent))
        worker.wait_for("is unavailable")
        pings = 0
        while monotonic() < away + OUTAGE:
            asyncio.run(asyncio.sleep(INTERVAL))
            assert asyncio.run(members(stack.bootstrap, group)) == before, worker.output[-6000:]
            if others == "yes":
                pings += 1
                produce(stack.bootstrap, environ["PINGS"], (None, b"%d" % pings))
                answered = lambda found, n=pings: len(found) >= n  # noqa: E731
                read_until(stack.bootstrap, environ["PONGS"], answered, SOON)
        assert committed(stack.bootstrap, group, environ["RECORDS"]) in (None, 1)
        server.start()
        seen = values(
            read_until(stack.bootstrap, environ["SEEN"], lambda found: len(found) > COUNT, SOON)
        )
        assert [number for number, _ in seen] == [0, *range(COUNT)]
        assert asyncio.run(members(stack.bootstrap, group)) == before
    assert worker.stop() == 0
    assert worker.output.count("Joined group") == 1
    assert "LeaveGroup" not in worker.output.partition("Signal received")[0]
    assert 2 <= worker.output.count("is unavailable for") <= 3  # one in 30 s
    assert worker.output.count("answers again after") == 1
