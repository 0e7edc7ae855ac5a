"""The servers that all contenders share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from aiokafka import AIOKafkaConsumer

from benchmarks.proxy import ProxyProcess
from faust_s3.local import NoidaBroker, SeaweedFS
from faust_s3.local.brokers import Broker
from tests.apache_kafka import ApacheKafka, available

__all__ = ["Servers", "servers"]

#: Seconds: a busy machine makes no benchmark fail.
_START_TIMEOUT = 240.0
#: Settings of a topic with plain Faust's large records.
PLAIN_CONFIG = {"max.message.bytes": str(32 * 1024 * 1024)}


class RoomyS3(SeaweedFS):
    """The S3 server with more memory, which makes it faster: it must not be the limit."""

    def environment(self) -> dict[str, str]:
        return {"GOMEMLIMIT": "3GiB"}


@dataclass
class Servers:
    """What runs.

    Attributes:
        broker: Apache Kafka, or another one that speaks its protocol.
        s3: The S3 server.
        proxies: By the seconds that they add.
    """

    broker: Broker
    s3: SeaweedFS
    proxies: dict[float, ProxyProcess]

    def endpoint(self, latency: float, *, proxied: bool = False) -> str:
        """Return the S3 endpoint with so many seconds of latency; 0 is without a proxy."""
        if latency or proxied:
            return self.proxies[latency].endpoint_url
        return self.s3.endpoint_url

    @property
    def environ(self) -> dict[str, str]:
        """Credentials, as all clients look for them."""
        return {
            "AWS_ACCESS_KEY_ID": self.s3.keys.access_key,
            "AWS_SECRET_ACCESS_KEY": self.s3.keys.secret_key,
            "AWS_DEFAULT_REGION": self.s3.region,
            "LOGURU_LEVEL": "WARNING",  # of a contender that else logs each record
        }

    def record_sizes(self, topic: str, *, count: int = 20) -> list[int]:
        """Return the bytes of key and value of the first records of a topic."""

        async def read() -> list[int]:
            consumer = AIOKafkaConsumer(
                topic, bootstrap_servers=self.broker.bootstrap, auto_offset_reset="earliest"
            )
            async with consumer:
                return [_size(await consumer.getone()) for _ in range(count)]

        return asyncio.run(read())

    def remove_bucket(self, name: str) -> None:
        """Remove a bucket with all that is in it, as this server does."""
        client: Any = boto3.client(
            "s3",
            endpoint_url=self.s3.endpoint_url,
            region_name=self.s3.region,
            aws_access_key_id=self.s3.keys.access_key,
            aws_secret_access_key=self.s3.keys.secret_key,
        )
        client.delete_bucket(Bucket=name)


def _size(record: Any) -> int:
    return len(record.key or b"") + len(record.value or b"")


@contextmanager
def servers(directory: Path, latencies: Iterable[float], *, embedded: bool) -> Iterator[Servers]:
    """Start them all: Apache Kafka if Java and Maven are there, or the embedded broker."""
    with ExitStack() as started:
        s3 = started.enter_context(RoomyS3(directory=directory / "s3"))
        kind = NoidaBroker if embedded or available() is not None else ApacheKafka
        broker = kind(directory=directory / "broker")
        broker.start_timeout = _START_TIMEOUT
        started.enter_context(broker)
        proxies = {
            latency: started.enter_context(ProxyProcess(s3.endpoint_url, latency=latency))
            for latency in sorted({0.0, *latencies})
        }
        yield Servers(broker, s3, proxies)
