"""Follows the topics of a campaign while it runs, past all faults."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from botocore.exceptions import ClientError
from checker import Result, Sent, Source
from clients import s3_client

from faust_s3.claim import Claim, parse

_READERS = 4


@dataclass(frozen=True)
class Seen:
    """A result, with the digest if its payload is on the topic, or else the claim.

    Attributes:
        place: Where the result lies.
    """

    number: int
    key: bytes
    source: Source
    place: Source
    at: float
    digest: str | None
    claim: Claim | None


class Watcher:
    """Reads both topics from their beginning, in a thread of its own.

    Args:
        bootstrap: The broker, past any proxy.
        records: The input topic.
        results: The output topic.
        partitions: Of each.

    Attributes:
        sent: The input topic so far.
        seen: The output topic so far, as far as it is committed.
    """

    def __init__(self, bootstrap: str, records: str, results: str, *, partitions: int) -> None:
        self.sent: list[Sent] = []
        self.seen: list[Seen] = []
        self._bootstrap = bootstrap
        self._take = {records: self._take_sent, results: self._take_seen}
        self._partitions = partitions
        self._done = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._watch()), name="watcher", daemon=True
        )

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._done.set()
        self._thread.join()

    def missing(self) -> set[Source]:
        """Return the records that were sent and have no result yet."""
        return {one.source for one in list(self.sent)} - self.done()

    def done(self) -> set[Source]:
        """Return the records that have a result."""
        return {one.source for one in list(self.seen)}

    async def _watch(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        await consumer.start()
        try:
            consumer.assign(
                [TopicPartition(topic, n) for topic in self._take for n in range(self._partitions)]
            )
            while not self._done.is_set():
                for partition in (await consumer.getmany(timeout_ms=200)).values():
                    for record in partition:
                        self._take[record.topic](record)
        finally:
            await consumer.stop()

    def _take_sent(self, record: ConsumerRecord) -> None:
        headers = dict(record.headers)
        source = Source(record.partition, record.offset)
        self.sent.append(Sent(int(headers["number"]), record.key, source))

    def _take_seen(self, record: ConsumerRecord) -> None:
        headers = dict(record.headers)
        partition, offset = map(int, headers["source"].split(b":"))
        parsed = parse(record.value)
        claim = parsed if isinstance(parsed, Claim) else None
        digest = None if claim is not None else hashlib.sha256(record.value).hexdigest()
        self.seen.append(
            Seen(
                int(headers["number"]),
                record.key,
                Source(partition, offset),
                Source(record.partition, record.offset),
                time.monotonic(),
                digest,
                claim,
            )
        )


def redeemed(seen: list[Seen], server: Any) -> list[Result]:
    """Read each payload from the store by a bare client, and return what the results are."""
    claims = {one.claim for one in seen if one.claim is not None}

    with s3_client(server) as client, ThreadPoolExecutor(_READERS) as pool:

        def digest(claim: Claim) -> str:
            try:
                found = client.get_object(Bucket=claim.bucket, Key=claim.key)
            except ClientError as exc:
                return f"{claim.key}: {exc}"
            return hashlib.sha256(found["Body"].read()).hexdigest()

        digests = dict(zip(claims, pool.map(digest, claims), strict=True))
    return [
        Result(one.number, one.key, one.source, one.digest or digests[one.claim]) for one in seen
    ]
