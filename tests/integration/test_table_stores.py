"""Tables: claims in the changelog, whole values on the worker, none lost with its disk."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import faust
import pytest
from aiokafka import AIOKafkaProducer
from apps.tables_commands import text_of
from workers import Worker, read_until

from faust_s3.claim import MAGIC, Claim, parse
from faust_s3.local import SeaweedFS

STORES = ["memory://", "rocksdb://"]
SMALL, LARGE = 50, 5000
#: Not so long ago that windows have expired.
NOW = float(int(time.time()) // 100 * 100)

Start = Callable[..., Worker]


@pytest.fixture
def start(environ: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start workers of the app, each on a disk; what a test leaves running is stopped."""
    workers: list[Worker] = []

    def start(store: str, disk: str, **more: str) -> Worker:
        settings = {"STORE": store, "MAGIC": MAGIC.hex(), **more}
        worker = Worker("tables_app", environ={**environ, **settings}, datadir=tmp_path / disk)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.kill()


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Tables:
    """What the app was told, and what its tables have to hold."""

    TUMBLING = faust.TumblingWindow(100.0)
    HOPPING = faust.HoppingWindow(100.0, 50.0)

    def __init__(self, stack: Any, environ: dict[str, str], partitions: int = 1) -> None:
        self.bootstrap = stack.bootstrap
        self.environ = environ
        self.partitions = partitions
        self.expected: dict[str, Any] = {
            name: {}
            for name in ("models", "strings", "raw", "archived", "plain", "shared", "tumbling",
                         "hopping", "sets", "shared_sets", "current")
        }  # fmt: skip
        self.expected["index"] = []
        self._commands: list[tuple[str, dict[str, Any], float]] = []
        self._seeds = 0
        for name in ("RECORDS", "SEEN"):
            stack.create_topic(environ[name], partitions=partitions)

    def set(self, table: str, key: str, size: int, *, at: float = NOW) -> str:
        """Have a value set, and return it."""
        self._seeds += 1
        text = text_of(self._seeds, size)
        self._tell(key, at, what="set", table=table, seed=self._seeds, size=size)
        held = self.expected[table]
        if table in ("tumbling", "hopping"):
            window = self.TUMBLING if table == "tumbling" else self.HOPPING
            for start, end in window.ranges(at):
                held[json.dumps([key, [start, end]])] = digest(text)
            if table == "tumbling":
                self.expected["index"] = sorted({*self.expected["index"], key})
                if window.current(at) == window.current(NOW):
                    self.expected["current"][json.dumps(key)] = digest(text)
        elif table in ("sets", "shared_sets"):
            held[json.dumps(key)] = sorted([*held.get(json.dumps(key), []), digest(text)])
        else:
            prefix = MAGIC if table == "raw" else b""
            held[json.dumps(key)] = hashlib.sha256(prefix + text.encode()).hexdigest()
        return text

    def discard(self, table: str, key: str, seed: int, size: int) -> None:
        """Have a member of a set discarded."""
        self._tell(key, NOW, what="discard", table=table, seed=seed, size=size)
        self.expected[table][json.dumps(key)].remove(digest(text_of(seed, size)))

    def delete(self, table: str, key: str) -> None:
        """Have a key deleted."""
        self._tell(key, NOW, what="delete", table=table)
        del self.expected[table][json.dumps(key)]

    def partition_of(self, key: str) -> int:
        return sum(key.encode()) % self.partitions

    def _tell(self, key: str, at: float, **command: Any) -> None:
        self._commands.append((key, command, at))

    def send(self) -> None:
        """Send what the app was told since the last time."""
        commands, self._commands = self._commands, []

        async def send() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap)
            await producer.start()
            try:
                for key, command, at in commands:
                    await producer.send_and_wait(
                        self.environ["RECORDS"],
                        json.dumps(command).encode(),
                        key=key.encode(),
                        partition=self.partition_of(key),
                        timestamp_ms=int(at * 1000),
                    )
            finally:
                await producer.stop()

        asyncio.run(send())

    def report(self, partition: int = 0) -> dict[str, Any]:
        """Return what the tables hold, after everything sent so far to a partition."""
        return dict(self.answer(partition)["tables"])

    def answer(self, partition: int = 0) -> dict[str, Any]:
        """Return what the worker of a partition has to say."""
        name = uuid4().hex
        key = next(key for key in map(str, count()) if self.partition_of(key) == partition)
        self._tell(key, NOW, what="report", id=name)
        self.send()

        def reported(records: list[Any]) -> bool:
            return any(json.loads(record.value)["id"] == name for record in records)

        records = read_until(self.bootstrap, self.environ["SEEN"], reported)
        reports = [json.loads(record.value) for record in records]
        return dict(next(report for report in reports if report["id"] == name))

    def changelog(self, table: str, changes: int) -> list[Any]:
        """Return a table's changes, as a plain consumer sees them."""
        topic = f"{self.environ['APP_ID']}-{table}-changelog"
        return read_until(self.bootstrap, topic, lambda records: len(records) >= changes)


def kinds(records: list[Any]) -> list[str]:
    """Return what the values of a changelog are."""
    found = []
    for record in records:
        if record.value is None:
            found.append("deleted")
        elif isinstance(parse(record.value), Claim):
            assert len(record.value) <= 128
            found.append("claim")
        else:
            assert len(record.value) < LARGE
            found.append("inline")
    return found


def fill(tables: Tables) -> None:
    """Change tables of every kind: large and small values, deleted and changed ones."""
    for table in ("models", "strings", "raw", "archived", "plain", "shared", "tumbling",
                  "hopping", "sets", "shared_sets"):  # fmt: skip
        tables.set(table, "small", SMALL)
        tables.set(table, "large", LARGE)
        tables.set(table, "huge", 40 * LARGE)
    for table in ("tumbling", "hopping"):
        tables.set(table, "large", LARGE, at=NOW + 60)
        tables.set(table, "large", LARGE, at=NOW + 120)
        tables.set(table, "small", SMALL, at=NOW + 120)
    for table in ("sets", "shared_sets"):
        tables.set(table, "large", LARGE)
        seed = tables._seeds
        tables.set(table, "large", LARGE)
        tables.discard(table, "large", seed, LARGE)
    for table in ("models", "strings", "raw", "archived", "plain", "shared"):
        tables.set(table, "deleted", LARGE)
        tables.delete(table, "deleted")
        tables.set(table, "changed", LARGE)
        tables.set(table, "changed", LARGE)
        tables.set(table, "back", LARGE)
        tables.delete(table, "back")
        tables.set(table, "back", SMALL)


@pytest.mark.parametrize("store", STORES)
def test_tables_of_every_kind(
    stack: Any, environ: dict[str, str], start: Start, client: Any, store: str
) -> None:
    """Changelogs carry claims; a new disk recovers all, one that was kept needs no S3."""
    tables = Tables(stack, environ)
    worker = start(store, "kept").ready()
    fill(tables)
    assert tables.report() == tables.expected
    assert worker.stop() == 0

    assert kinds(tables.changelog("tumbling", 6)) == ["inline"] + ["claim"] * 4 + ["inline"]
    assert kinds(tables.changelog("hopping", 12)) == (
        ["inline"] * 2 + ["claim"] * 8 + ["inline"] * 2
    )
    for table in ("sets", "shared_sets"):
        assert kinds(tables.changelog(table, 6)) == ["inline"] + ["claim"] * 5
    for table in ("models", "strings", "raw", "archived", "shared"):
        assert kinds(tables.changelog(table, 10)) == [
            "inline", "claim", "claim", "claim", "deleted", "claim", "claim", "claim", "deleted",
            "inline",
        ], table  # fmt: skip
    values = [record.value for record in tables.changelog("plain", 10)]
    assert [value and len(value) > LARGE for value in values[1:4]] == [True] * 3
    keys = [record.key for record in tables.changelog("tumbling-key_index", 3)]
    assert keys == [b'"small"', b'"large"', b'"huge"']

    fresh = start(store, "fresh").ready()
    assert tables.report() == tables.expected
    assert fresh.stop() == 0

    if store == "rocksdb://":
        assert delete_objects(client, environ)
        kept = start(store, "kept").ready()
        found = tables.report()
        for table in ("sets", "shared_sets"):
            # Faust stores a set as it was before its last change.
            del found[table], tables.expected[table]
        assert found == tables.expected
        assert kept.stop() == 0


def delete_objects(client: Any, environ: dict[str, str]) -> list[str]:
    """Empty the store, and return what was in it."""
    bucket, _, prefix = environ["FAUST_S3_URL"].removeprefix("s3://").partition("/")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
    for key in keys:
        client.delete_object(Bucket=bucket, Key=key)
    return keys


def wait_until_ready(worker: Worker, times: int, timeout: float = 120) -> None:
    """Wait until a worker has been ready so many times, each after a rebalance."""
    deadline = time.monotonic() + timeout
    while worker.output.count("Worker ready") < times:
        assert worker.running, worker.output[-6000:]
        assert time.monotonic() < deadline, worker.output[-6000:]
        time.sleep(0.1)


def standby_partition(tables: Tables) -> int:
    """Return the one that the standby reads along, once it has been assigned."""
    for _ in range(20):
        for answer in (tables.answer(0), tables.answer(1)):
            if answer["worker"] == "standby" and answer["standbys"]:
                (partition,) = answer["standbys"]
                return int(partition)
    raise AssertionError("the standby was assigned nothing to read along")


@pytest.mark.parametrize("store", STORES)
def test_a_standby_takes_over(
    stack: Any, environ: dict[str, str], start: Start, client: Any, store: str
) -> None:
    """It reads a backlog of claims and what comes later; on disk, it then needs no S3."""
    tables = Tables(stack, environ, partitions=2)
    settings = {"STANDBYS": "1", "PARTITIONS": "2"}
    active = start(store, "active", **settings).ready()
    for number in range(60):
        tables.set("strings", f"key {number}", LARGE)
    tables.report(0)
    assert tables.report(1)["strings"] == tables.expected["strings"]

    standby = start(store, "standby", **settings).ready()
    wait_until_ready(active, 2)
    for number in range(60, 80):
        tables.set("strings", f"key {number}", LARGE)
    partition = standby_partition(tables)
    last = max(n for n in range(80) if tables.partition_of(f"key {n}") == partition)
    standby.wait_for(f"recovered key {last} {partition}")

    if store == "rocksdb://":
        assert delete_objects(client, environ)
    times = standby.output.count("Worker ready")
    active.kill()
    wait_until_ready(standby, times + 1)
    tables.report(1 - partition)
    assert tables.report(partition)["strings"] == tables.expected["strings"]
    assert standby.stop() == 0


def test_a_lost_value_ends_the_worker(
    stack: Any, environ: dict[str, str], start: Start, client: Any
) -> None:
    """A claim in a changelog that cannot be redeemed is never skipped."""
    tables, store = Tables(stack, environ), "rocksdb://"
    worker = start(store, "first").ready()
    for number in range(20):
        tables.set("strings", f"key {number}", LARGE)
    tables.report()
    assert worker.stop() == 0
    claim = parse(tables.changelog("strings", 20)[7].value)
    assert isinstance(claim, Claim)
    place = {"Bucket": claim.bucket, "Key": claim.key}
    payload = client.get_object(**place)["Body"].read()
    client.delete_object(**place)

    worker = start(store, "second", FAUST_S3_ON_BAD_CLAIM="skip")
    assert worker.wait(120) != 0
    assert "there is no such object" in worker.output
    assert claim.key in worker.output
    assert "Worker ready" not in worker.output

    client.put_object(**place, Body=payload)
    worker = start(store, "second", FAUST_S3_ON_BAD_CLAIM="skip").ready()
    assert tables.report() == tables.expected
    assert worker.stop() == 0


def test_recovery_waits_for_the_store(stack: Any, environ: dict[str, str], start: Start) -> None:
    """While the store is away no value is given up, and it goes on by itself."""
    tables = Tables(stack, environ)
    with SeaweedFS(bucket=stack.bucket) as server:
        elsewhere = {"FAUST_S3_ENDPOINT_URL": server.endpoint_url}
        worker = start("memory://", "first", **elsewhere).ready()
        for number in range(40):
            tables.set("strings", f"key {number}", LARGE if number % 2 else SMALL)
        tables.report()
        assert worker.stop() == 0
        server.kill()
        worker = start("memory://", "second", **elsewhere, FAUST_S3_CHECK_ON_START="no")
        worker.wait_for("is unavailable", 90)
        server.start()
        worker.ready()
        assert tables.report() == tables.expected
        assert worker.stop() == 0


def test_a_rebalance_while_the_store_is_away(
    stack: Any, environ: dict[str, str], start: Start
) -> None:
    """The group does not wait for the store, and no change comes late."""
    tables = Tables(stack, environ, partitions=2)
    with SeaweedFS(bucket=stack.bucket) as server:
        settings = {"FAUST_S3_ENDPOINT_URL": server.endpoint_url, "PARTITIONS": "2"}
        first = start("memory://", "first", **settings).ready()
        server.kill()
        for number in range(10):
            tables.set("strings", f"key {number}", LARGE)
        tables.send()
        first.wait_for("is unavailable")
        settings |= {"FAUST_S3_CHECK_ON_START": "no"}
        second = start("memory://", "second", **settings).ready(120)
        first.wait_for("partitions were revoked before 10 messages were stored")
        wait_until_ready(first, 2)
        server.start()
        for number in range(10):
            tables.set("strings", f"key {number}", LARGE)
        reports = [tables.answer(0), tables.answer(1)]
        assert {report["worker"] for report in reports} == {"first", "second"}
        assert first.stop() == 0
        wait_until_ready(second, 2)
        assert tables.report()["strings"] == tables.expected["strings"]
        assert second.stop() == 0
