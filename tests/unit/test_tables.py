"""Tables: whole values on the worker, claims in the changelog, none of them lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any

import faust
import pytest
from faust import stores as fausts_stores
from faust.tables import recovery as fausts_recovery
from faust.transport.conductor import ConductorCompiler
from faust.types import TP
from mode.utils.queues import ThrowableQueue
from stores import BarrierStore, CountingStore, FailingStore
from worlds import (
    THRESHOLD,
    FakeProducer,
    GatedStore,
    Sent,
    claim_in,
    commit,
    connect,
    ended,
    make_app,
    make_s3,
    message,
    processing,
    producer_of,
    settle,
)

from faust_s3 import AccessDenied, ConfigError, ObjectMissing, tables
from faust_s3.claim import MAGIC, Claim, Inline, parse
from faust_s3.stores import Location

NOW = 1_000_000.0
fausts_stores.by_url("memory://")  # reads entry points from disk, once


class Document(faust.Record, serializer="json|s3"):
    text: str


def text(number: int) -> str:
    return f"{number:04}" * THRESHOLD


class World:
    """An app with tables, on a worker that never meets a broker.

    Args:
        store: Where payloads go.
        local: Where tables are, as Faust's setting has it.
        driver: Of RocksDB.
        path: For what is on disk.
        settings: Of the ``S3`` object.
    """

    def __init__(
        self,
        store: Any = None,
        *,
        local: str = "memory://",
        driver: str | None = None,
        path: Path | None = None,
        conf: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        conf = {"store": local, **(conf or {})}
        if path is not None:
            conf["datadir"] = path
        self.driver = driver
        self.app = make_app(**conf)
        self.store: Any = store if store is not None else CountingStore()
        self.s3 = make_s3(self.app, self.store, **settings)
        connect(self.app)
        if path is not None:
            self.app.conf.tabledir.mkdir(parents=True, exist_ok=True)
        app: Any = self.app
        app.consumer.topic_partitions = lambda topic: None
        app.assignor.assigned_actives = self.actives
        self._offset = 0

    @property
    def hub(self) -> Any:
        return self.s3._hub

    @property
    def producer(self) -> FakeProducer:
        return producer_of(self.app)

    def actives(self) -> set[TP]:
        """Return the partitions that Faust's stores list keys of."""
        return {TP(f"test-{name}-changelog", 0) for name in self.app.tables}

    def table(self, kind: str = "Table", name: str = "table", **args: Any) -> Any:
        """Return a new table, by default one that offloads."""
        if "value_type" not in args:
            args.setdefault("value_serializer", "json|s3")
        options = None if self.driver is None else {"driver": self.driver}
        return getattr(self.app, kind)(name, options=options, **args)

    def event(self, at: float = NOW) -> Any:
        """Return the next event for an agent to process."""
        source = message(b"source", topic="source", offset=self._offset)
        source.timestamp = at
        self._offset += 1
        return faust.Event(self.app, None, "source", None, source)

    async def commit(self) -> bool:
        """Acknowledge all events and commit, and tell whether all are committed."""
        committed = await commit(self.app, TP("source", 0), *range(self._offset))
        return committed == self._offset

    def written(self, table: Any) -> list[Sent]:
        """Return a table's changes that are in Kafka."""
        name = table.changelog_topic.get_topic_name()
        return [sent for sent in self.producer.sent if sent.topic == name]


LOCAL = ["memory", "rocksdict", "python-rocksdb"]


def world_on(local: str, path: Path, store: Any = None, **more: Any) -> World:
    """Return a world whose tables are in memory, or on disk by one of Faust's two drivers."""
    if local == "memory":
        return World(store, **more)
    if local == "python-rocksdb":
        pytest.importorskip("rocksdb", reason="there is no wheel for this Python")
    return World(store, local="rocksdb://", driver=local, path=path, **more)


@pytest.fixture(params=LOCAL)
def local(request: pytest.FixtureRequest) -> str:
    """Each kind of local store."""
    return str(request.param)


@asynccontextmanager
async def recovering(
    world: World, table: Any, changes: Iterable[Sent], **more: Any
) -> AsyncIterator[Any]:
    """Have Faust recover a table from changes; the conductor has delivered them."""
    tables.recover_ahead(world.app, world.hub)
    manager: Any = world.app.tables
    channel = table.changelog_topic.clone_using_queue(manager.changelog_queue)
    tp = TP(channel.get_topic_name(), 0)
    recovery = manager.recovery
    recovery.active_tps.add(tp)
    recovery.tp_to_table[tp] = table
    recovery.active_offsets[tp] = -1
    changes = list(changes)
    recovery.active_highwaters[tp] = len(changes) - 1
    recovery._set_recovery_started()
    on_message = ConductorCompiler().build(world.app.topics, tp, {channel})
    await recovery.start()
    try:
        for offset, sent in enumerate(changes):
            await on_message(message(sent.value, key=sent.key, offset=offset, topic=tp.topic))
        yield recovery
    finally:
        await recovery.stop()
        await ended(*recovery._futures)
        world.hub.changelogs.clear()
        await settle()


async def recover(world: World, table: Any, changes: Iterable[Sent]) -> None:
    """Have Faust recover a table, to the end."""
    async with recovering(world, table, changes) as recovery:
        await settle(lambda: not recovery.in_recovery, turns=5000)
        assert not recovery.in_recovery, "recovery does not end"


# -- opting in


@pytest.mark.parametrize("kind", ["Table", "GlobalTable", "SetTable", "SetGlobalTable"])
async def test_opting_in(kind: str) -> None:
    """By the model, by name or by the changelog; whoever does neither stays plain."""
    world = World(conf={"value_serializer": "json|s3"})  # which tables do not follow in Faust
    changelog = world.s3.offload(world.app.topic("chosen"))
    for name, args, opts_in in [
        ("model", {"value_type": Document}, True),
        ("named", {"value_serializer": "json|s3"}, True),
        ("bound", {"value_serializer": world.s3.codec}, True),
        ("changelog", {"changelog_topic": changelog}, True),
        ("plain", {}, False),
    ]:
        table = getattr(world.app, kind)(name, **args)
        assert table.changelog_topic.opt_in.value is (world.s3 if opts_in else None)
        assert table.changelog_topic.opt_in.key is None


async def test_windows_keep_what_the_table_chose() -> None:
    """Faust makes a new changelog topic for them; the index of keys is plain."""
    world = World()
    world.table().tumbling(10, key_index=True)
    topics = {name: table.changelog_topic for name, table in world.app.tables.items()}
    assert topics["table"].opt_in.value is world.s3
    assert not topics["table-key_index"].opt_in


@pytest.mark.parametrize("value", [{"a": 1}, "x" * 1000, None, ""])
async def test_other_tables_are_plain(value: Any) -> None:
    """What they send is what they would send without S3, byte for byte."""
    sent = []
    for with_s3 in (False, True):
        app: Any = make_app()
        if with_s3:
            make_s3(app)
        connect(app)
        app.consumer.topic_partitions = lambda topic: None
        table = app.Table("table")
        with processing(faust.Event(app, None, 1, None, message(b"", topic="source"))):
            table["key"] = value
            del table["key"]
        await producer_of(app).buffer.flush()
        sent.append(producer_of(app).sent)
    assert sent[0] == sent[1]
    assert len(sent[0]) == 2


async def test_a_table_made_before_s3_is_refused() -> None:
    """It would block the event loop."""
    app = make_app()
    app.finalize()
    app.Table("table", value_type=Document)
    s3 = make_s3(app)
    connect(app)
    with pytest.raises(ConfigError, match="made before S3"):
        await s3.on_start()


# -- changes


async def test_what_is_in_the_changelog() -> None:
    """Claims for large values, small ones as they are; keys and partitions as in Faust."""
    world = World()
    table = world.table()
    with processing(world.event()):
        table["small"] = "s"
        table["large"] = text(1)
        del table["small"]
    await world.hub.drain(10)
    small, large, deleted = world.written(table)
    assert small == Sent("test-table-changelog", b'"small"', b'"s"', 0, None, {})
    assert claim_in(large.value).payload_size == len(text(1)) + 2
    assert (large.key, large.partition) == (b'"large"', 0)
    assert deleted._replace(key=None) == small._replace(key=None, value=None)


@pytest.mark.may_block
async def test_a_value_like_a_claim(local: str, tmp_path: Path) -> None:
    """It is a value."""
    world = world_on(local, tmp_path)
    table = world.table(value_type=bytes, value_serializer="raw|s3")
    forged = Claim("bucket", "prefix/x", 1, 1, bytes(32)).dumps()
    with processing(world.event()):
        table["like"] = MAGIC + b"x"
        table["forged"] = forged
        assert (table["like"], table["forged"]) == (MAGIC + b"x", forged)
    await world.hub.drain(10)
    assert all(isinstance(parse(sent.value or b""), Inline) for sent in world.written(table))
    other = world_on(local, tmp_path / "other", world.store)
    table = other.table(value_type=bytes, value_serializer="raw|s3")
    await recover(other, table, world.written(world.app.tables["table"]))
    assert dict(table.items()) == {"like": MAGIC + b"x", "forged": forged}


@pytest.mark.may_block  # a local store, as in plain Faust
async def test_stores_hold_payloads(local: str, tmp_path: Path) -> None:
    """Reading and writing a table makes no request; the store has what Faust has."""
    world = world_on(local, tmp_path)
    table = world.table(value_type=Document)
    with processing(world.event()):
        for number in range(5):
            table[f"key {number}"] = Document(text(number))
        assert table["key 3"].text == text(3)
        assert "key 3" in table
        assert "key 5" not in table
        assert {key: value.text for key, value in table.items()} == {
            f"key {number}": text(number) for number in range(5)
        }
        assert len(table) == 5
    assert not world.store.requests
    await world.hub.drain(10)
    assert world.store.count("get") == 0


async def test_slow_uploads_hold_up_nobody_else() -> None:
    """Thousands of changes wait for the store; other topics' messages go on."""
    world = World(GatedStore(), concurrency=10_000)
    table = world.table()
    other = world.app.topic("other", value_serializer="json")
    numbers = range(2000)
    for number in numbers:
        with processing(world.event()):
            table[number % 10] = text(number)
            other.send_soon(value=number)
    await world.producer.buffer.flush()
    assert [sent.topic for sent in world.producer.sent] == ["other"] * 2000
    await settle(lambda: len(world.store.waiting) == 2000, turns=50_000)
    for number in reversed(numbers):
        world.store.open(f'"{text(number)}"'.encode())
    await world.hub.drain(10)
    digests = [claim_in(sent.value).sha256 for sent in world.written(table)]
    assert digests == [sha256(f'"{text(number)}"'.encode()).digest() for number in numbers]


async def test_commits_wait_for_changes() -> None:
    """All of an event's changes are in Kafka before it is committed."""
    world = World(GatedStore())
    table = world.table()
    payloads = [f'"{text(number)}"'.encode() for number in range(3)]
    with processing(world.event()):
        for number in range(3):
            table[number] = text(number)
    for payload in payloads:
        await settle()
        assert not await world.commit()
        world.store.open(payload)
    await world.hub.drain(10)
    await settle()
    assert await world.commit()
    assert len(world.written(table)) == 3


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("serializer", ["json", "json|s3"])
async def test_streams_wait_for_changes(serializer: str, compiled: bool) -> None:
    """No agent gets its next event while more waits for the store than is read ahead."""
    world = World(GatedStore(), prefetch_bytes=1000)
    table = world.table()
    await world.s3.on_start()
    source = world.app.topic("source", value_serializer=serializer).clone(is_iterator=True)
    for number in range(8):
        await source.put(faust.Event(world.app, None, number, None, world.event().message))
    stream = world.app.stream(source)
    values = aiter(stream) if compiled else stream._py_aiter()  # type: ignore[attr-defined]
    seen = []

    async def agent() -> None:
        async for number in values:
            seen.append(number)
            table[number] = text(number)

    running = asyncio.ensure_future(agent())
    for number in range(6):
        await settle()
        assert seen == list(range(number + 3))  # three of them have more than 1000 bytes
        world.store.open(f'"{text(number)}"'.encode())
    for number in range(6, 8):
        world.store.open(f'"{text(number)}"'.encode())
    await world.hub.drain(10)
    await ended(running)
    await stream.stop()


async def test_other_apps_streams_do_not_wait() -> None:
    """Plain topics of an app without such tables are plain."""
    world = World()
    world.app.Table("plain")
    await world.s3.on_start()
    assert type(world.app.topic("source").queue) is ThrowableQueue


@pytest.fixture
def crashes(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What apps crashed with."""
    found: list[BaseException] = []

    async def crash(self: Any, reason: BaseException) -> None:
        found.append(reason)

    monkeypatch.setattr(faust.App, "crash", crash)
    return found


@pytest.mark.parametrize("in_agent", [True, False])
async def test_a_change_that_is_refused(crashes: list[BaseException], in_agent: bool) -> None:
    """The worker stops; an event is not committed. Timers may change some tables, too."""
    world = World(FailingStore([AccessDenied("no")]))
    table = world.table(use_partitioner=True)
    world.producer.metadata.add("test-table-changelog")
    with processing(world.event()) if in_agent else nullcontext():
        table["key"] = text(1)
    await settle(lambda: crashes)
    assert isinstance(crashes[0], AccessDenied)
    if in_agent:
        assert not await world.commit()
    await settle()


async def test_changes_are_patient(crashes: list[BaseException]) -> None:
    """A change made by a timer is not given up after send_timeout."""
    world = World(FailingStore(50), send_timeout=0.001)
    table = world.table(use_partitioner=True)
    world.producer.metadata.add("test-table-changelog")
    table["key"] = text(1)
    await world.hub.drain(10)
    assert len(world.written(table)) == 1
    assert not crashes


async def test_a_stop_gives_changes_up(crashes: list[BaseException]) -> None:
    """What was not stored is not committed, and that is all."""
    world = World(GatedStore())
    table = world.table()
    with processing(world.event()):
        table["key"] = text(1)
    await settle()
    await world.s3.on_stop()
    await settle()
    assert not world.store.waiting
    assert not crashes
    assert not await world.commit()


async def test_changes_are_let_go(caplog: pytest.LogCaptureFixture) -> None:
    """When partitions are revoked, changes get there soon or not at all."""
    world = World(GatedStore())
    table = world.table()
    payloads = [f'"{text(number)}"'.encode() for number in range(3)]
    with processing(world.event()):
        table[0] = text(0)
    letting_go = asyncio.ensure_future(tables.let_go(world.hub, {TP("source", 0)}))
    await settle()
    assert not letting_go.done()
    world.store.open(payloads[0])
    await letting_go
    assert len(world.written(table)) == 1
    assert not caplog.records


async def test_changes_are_given_up(
    crashes: list[BaseException], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another worker writes is not undone by a change that comes late."""
    monkeypatch.setattr(tables, "REVOKED", 0.001)
    world = World(GatedStore())
    table = world.table()
    payloads = [f'"{text(number)}"'.encode() for number in range(3)]
    with processing(world.event()):
        table[0] = text(0)
        table[1] = "small, and behind it"
    await world.s3.app.on_partitions_revoked.send({TP("source", 0)})  # type: ignore[union-attr]
    assert "revoked before 2 messages were stored" in caplog.text
    with processing(world.event()):
        table[2] = text(2)
    for payload in payloads:
        world.store.open(payload)
    await world.hub.drain(10)
    assert [sent.key for sent in world.written(table)] == [b"2"]
    assert not crashes


async def test_commits_do_not_wait_for_changes(crashes: list[BaseException]) -> None:
    """They pass by no event whose change is under way, and keep nobody waiting."""
    world = World(GatedStore())
    table = world.table()
    with processing(world.event()):
        table["key"] = "small"
    await settle()
    with processing(world.event()):
        table["key"] = text(1)
    with processing(world.event()):
        table["other"] = "small"
    assert not await world.commit()
    assert world.app.consumer._committed_offset[TP("source", 0)] == 1
    world.store.open(f'"{text(1)}"'.encode())
    await world.hub.drain(10)
    await settle()
    assert await world.commit()
    assert not crashes


async def test_commits_are_refused(crashes: list[BaseException]) -> None:
    """What was refused forbids them."""
    world = World(FailingStore([AccessDenied("no")]))
    with processing(world.event()):
        world.table()["key"] = text(1)
    assert not await world.commit()
    await settle(lambda: crashes)
    assert not await world.commit()


# -- recovery


def changed(world: World, table: Any) -> dict[str, Any]:
    """Change a table in every way, and return what it has to hold."""
    with processing(world.event()):
        for number in range(20):
            table[f"key {number}"] = text(number)
        for number in range(0, 20, 4):
            del table[f"key {number}"]
        for number in range(1, 20, 4):
            table[f"key {number}"] = text(100 + number)
        for number in range(2, 20, 4):
            table[f"key {number}"] = f"small {number}"
        table["key 0"] = text(1000)
    expected = {f"key {n}": text(100 + n) for n in range(1, 20, 4)}
    expected |= {f"key {n}": f"small {n}" for n in range(2, 20, 4)}
    expected |= {f"key {n}": text(n) for n in range(3, 20, 4)}
    return expected | {"key 0": text(1000)}


@pytest.mark.may_block
@pytest.mark.parametrize("kind", ["Table", "GlobalTable"])
async def test_a_new_worker_recovers(local: str, kind: str, tmp_path: Path) -> None:
    """What another worker's table had is in this one's."""
    world = world_on(local, tmp_path / "1")
    table = world.table(kind)
    expected = changed(world, table)
    assert dict(table.items()) == expected
    await world.hub.drain(10)

    other = world_on(local, tmp_path / "2", world.store)
    table = other.table(kind)
    await recover(other, table, world.written(world.app.tables["table"]))
    assert dict(table.items()) == expected
    requests = other.store.requests[:]
    with processing(other.event()):
        assert {key: table[key] for key in expected} == expected
    assert other.store.requests == requests


def as_text(item: Any) -> str:
    """Return a string for a key and its value; RocksDB's keys have lists for tuples."""
    return json.dumps(item)


@pytest.mark.may_block
@pytest.mark.parametrize("relative", ["stream", "now", "field"])
@pytest.mark.parametrize("window", ["tumbling", "hopping"])
async def test_windows(local: str, window: str, relative: str, tmp_path: Path) -> None:
    """Windowed tables work like others."""

    class At(faust.Record):
        at: float

    def windowed(world: World) -> Any:
        table = world.table()
        if window == "tumbling":
            wrapper = table.tumbling(10.0, key_index=True)
        else:
            wrapper = table.hopping(10.0, 5.0, key_index=True)
        if relative == "stream":
            return wrapper.relative_to_stream()
        return wrapper.relative_to_field(At.at) if relative == "field" else wrapper

    world = world_on(local, tmp_path / "1")
    wrapper = windowed(world)
    for number, at in enumerate([NOW, NOW + 1, NOW + 10, NOW + 25]):
        event = world.event(at)
        event.value = At(at)
        with processing(event):
            wrapper["large"] = text(number)
            wrapper["small"] = "s"
            assert wrapper["large"].current() == wrapper["large"].value() == text(number)
    await world.hub.drain(10)
    kept = sorted(map(as_text, wrapper.table.items()))
    assert any(text(3) in item for item in kept)
    written = {name: world.written(table) for name, table in world.app.tables.items()}
    assert any(isinstance(parse(sent.value or b""), Claim) for sent in written["table"])

    other = world_on(local, tmp_path / "2", world.store)
    wrapper = windowed(other)
    await recover(other, wrapper.table, written["table"])
    assert sorted(map(as_text, wrapper.table.items())) == kept
    event = other.event(NOW + 25)
    event.value = At(NOW + 25)
    with processing(event):
        assert wrapper["large"].current() == wrapper["large"].value() == text(3)
        assert wrapper["small"].delta(15.0) == "s"


@pytest.mark.may_block
@pytest.mark.parametrize("kind", ["SetTable", "SetGlobalTable"])
async def test_sets(local: str, kind: str, tmp_path: Path) -> None:
    """Their changelog has members, which may be large."""
    world = world_on(local, tmp_path / "1")
    table = world.table(kind)
    with processing(world.event()):
        for number in range(5):
            table["set"].add(text(number))
        table["set"].discard(text(2))
        table["set"].update({text(7), text(8)})
        table["other"].add("small")
    await world.hub.drain(10)
    changes = world.written(table)
    assert [type(parse(sent.value or b"")) for sent in changes] == [Claim] * 7 + [type(None)]

    other = world_on(local, tmp_path / "2", world.store)
    table = other.table(kind)
    await recover(other, table, changes)
    assert set(table["set"]) == {text(number) for number in (0, 1, 3, 4, 7, 8)}
    assert set(table["other"]) == {"small"}


@pytest.mark.may_block
async def test_large_keys(local: str, tmp_path: Path) -> None:
    """A key's claim is the same for ever, so that it can be deleted."""
    world = world_on(local, tmp_path / "1")
    table = world.table(key_serializer="json|s3")
    with processing(world.event()):
        for number in range(3):
            table[text(number)] = text(number)
        del table[text(1)]
    await world.hub.drain(10)
    changes = world.written(table)
    assert claim_in(changes[1].key).payload_size == len(text(1)) + 2
    assert changes[3]._replace(value=changes[1].value) == changes[1]

    other = world_on(local, tmp_path / "2", world.store)
    table = other.table(key_serializer="json|s3")
    await recover(other, table, changes)
    assert dict(table.items()) == {text(0): text(0), text(2): text(2)}


async def test_two_stores() -> None:
    """Each table has its own; one may be moved from one to the other."""
    stores = CountingStore(), CountingStore()

    def two(world: World) -> Any:
        make_s3(world.app, stores[1], name="archive", url="s3://archive")
        return world.table(), world.table(name="archived", value_serializer="json|archive")

    world = World(stores[0])
    for table in two(world):
        with processing(world.event()):
            table["key"] = text(1)
    await world.hub.drain(10)
    assert [store.count("put") for store in stores] == [1, 1]
    changes = [world.written(table) for table in world.app.tables.values()]
    for number in (0, 1):
        other = World(stores[0])
        table, archived = two(other)
        await recover(other, archived, changes[number])
        assert dict(archived.items()) == {"key": text(1)}


async def written_by_another(count: int, store: Any = None) -> tuple[World, list[Sent]]:
    """Return what another worker has changed."""
    world = World(store)
    table = world.table()
    with processing(world.event()):
        for number in range(count):
            table[number] = text(number)
    await world.hub.drain(10)
    return world, world.written(table)


async def test_downloads_run_ahead_of_recovery() -> None:
    """Many changes are downloaded together, whatever recovery is at."""
    other, changes = await written_by_another(20)
    store = BarrierStore(8, other.store)
    world = World(store, prefetch=8)
    table = world.table()
    await recover(world, table, changes)
    assert dict(table.items()) == {number: text(number) for number in range(20)}
    assert store.most == 8


async def test_recovery_waits_for_the_last_download() -> None:
    """It is not over before everything is whole, however long that takes."""
    other, changes = await written_by_another(3)
    store = GatedStore()
    store.inner = other.store.inner
    world = World(store)
    table = world.table()
    async with recovering(world, table, changes) as recovery:
        for number in (2, 0, 1):
            await settle()
            assert recovery.in_recovery
            assert recovery.need_recovery()
            store.open(claim_in(changes[number].value))
        await settle(lambda: not recovery.in_recovery)
        assert dict(table.items()) == {number: text(number) for number in range(3)}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust gives up to wait for a change after 10 ms, not 5 s."""
    wait_for = asyncio.wait_for

    class Asyncio:
        def __getattr__(self, name: str) -> Any:
            return getattr(asyncio, name)

        async def wait_for(self, what: Any, timeout: float) -> Any:
            return await wait_for(what, 0.01 if timeout == 5.0 else timeout)

    monkeypatch.setattr(fausts_recovery, "asyncio", Asyncio())


@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
@pytest.mark.usefixtures("impatient")
async def test_recovery_that_times_out_loses_nothing(guarantee: str) -> None:
    """With transactions Faust takes silence for the end of the changelog."""
    other, changes = await written_by_another(3)
    store = GatedStore()
    store.inner = other.store.inner
    world = World(store, conf={"processing_guarantee": guarantee})
    table = world.table()
    app: Any = world.app

    async def position(tp: TP) -> int:
        return 3

    app.consumer.position = position
    app.in_worker = True
    assert app.in_transaction is (guarantee == "exactly_once")
    async with recovering(world, table, changes) as recovery:
        for change in changes:
            for _ in range(10):
                await asyncio.sleep(0.005)
                assert recovery.in_recovery
            store.open(claim_in(change.value))
        await settle(lambda: not recovery.in_recovery, turns=100_000)
        assert dict(table.items()) == {number: text(number) for number in range(3)}


async def test_flow_that_resumes_loses_nothing() -> None:
    """Faust resumes flow while standbys are being read."""
    other, changes = await written_by_another(3)
    store = GatedStore()
    store.inner = other.store.inner
    world = World(store)
    table = world.table()
    async with recovering(world, table, changes) as recovery:
        world.app.flow_control.resume()
        for change in changes:
            store.open(claim_in(change.value))
        await settle(lambda: not recovery.in_recovery)
        assert dict(table.items()) == {number: text(number) for number in range(3)}


@pytest.mark.parametrize("stops", [False, True], ids=["revoked", "stopped"])
async def test_what_is_revoked_is_not_recovered(stops: bool) -> None:
    """Downloads end, and nothing of them reaches a table; it is read again."""
    other, changes = await written_by_another(3)
    store = GatedStore()
    store.inner = other.store.inner
    world = World(store)
    table = world.table()
    async with recovering(world, table, changes):
        store.open(claim_in(changes[1].value))
        await settle()
        assert len(store.waiting) == 2
        if stops:
            await world.s3.on_stop()
        else:
            await world.app.on_partitions_revoked.send({TP("source", 0)})
        await settle()
        assert not store.waiting
        for change in changes:
            store.open(claim_in(change.value))
        await settle()
        assert not dict(table.items())


async def test_large_changes_are_applied_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust would collect a thousand of them, whatever their size."""
    monkeypatch.setattr(tables, "_BATCH", len(text(0)) * 3)
    other, changes = await written_by_another(10)
    world = World(other.store)
    table = world.table()
    sizes = []
    apply = table.data.apply_changelog_batch

    def noting(batch: Any, **more: Any) -> None:
        sizes.append(len(batch))
        apply(batch, **more)

    table.data.apply_changelog_batch = noting
    await recover(world, table, changes)
    assert [size for size in sizes if size] == [3, 3, 3, 1]
    assert len(table) == 10


@pytest.mark.parametrize("policy", ["raise", "skip"])
@pytest.mark.usefixtures("impatient")
async def test_a_lost_value_is_never_skipped(policy: str, crashes: list[BaseException]) -> None:
    """The worker stops, however long that takes; recovery goes no further."""
    other, changes = await written_by_another(3)
    claim = claim_in(changes[1].value)
    await other.store.delete(Location(claim.bucket, claim.key))
    world = World(other.store, on_bad_claim=policy)
    table = world.table()
    app: Any = world.app

    commits = []
    committed = asyncio.Event()

    async def commit() -> None:
        commits.append(committed)
        await committed.wait()

    app.consumer.commit = commit
    async with recovering(world, table, changes) as recovery:
        await asyncio.sleep(0.05)  # until recovery has asked again a few times
        assert len(commits) == 1
        assert not crashes
        committed.set()
        await settle(lambda: crashes)
        assert isinstance(crashes[0], ObjectMissing)
        assert "offset=1" in str(crashes[0])
        await asyncio.sleep(0.05)
        assert recovery.in_recovery
        assert recovery.active_offsets[TP("test-table-changelog", 0)] == 0
    await world.s3.on_stop()


async def test_forwarding_a_change() -> None:
    """What is told of each change still has the claim; forwarding it uploads nothing."""
    other, changes = await written_by_another(1)
    world = World(other.store)
    seen = []

    async def forward(event: Any) -> None:
        seen.append(event.value)
        await event.forward("copies", key="k")

    table = world.table(on_changelog_event=forward)
    puts = world.store.count("put")
    await recover(world, table, changes)
    assert seen == [text(0)]
    assert world.producer.values == [changes[0].value]
    assert world.store.count("put") == puts
