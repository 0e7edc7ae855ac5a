"""What keeps records from slipping through Faust's rebalances."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from faust.types import TP
from worlds import connect, make_app, make_s3, settle

from faust_s3 import S3
from faust_s3 import rebalance as module
from faust_s3.rebalance import SteadyRebalances, steady

PHOTOS, OTHERS = TP("photos", 0), TP("photos", 1)
CHANGELOG = TP("app-counts-changelog", 0)


@dataclass
class Rebalancing:
    """A consumer of Kafka that is not connected, and what happens to it.

    Attributes:
        fetched: What each fetch returns.
        wanted: The partitions that the last fetch asked for, as aiokafka asks.
        waits: Kept open by fetches, while it is not set.
    """

    app: faust.App
    consumer: Any
    steady: SteadyRebalances
    fetched: dict[TP, list[int]] = field(default_factory=dict)
    wanted: Any = None
    waits: asyncio.Event = field(default_factory=asyncio.Event)

    async def assigned(self, *tps: TP) -> None:
        """What Faust does when partitions are assigned: pause them, then recover."""
        self.consumer._set_active_tps(set(tps))
        self.consumer.pause_partitions(tps)
        await self.app.tables.recovery.on_rebalance(set(tps), set(), set(tps), 1)

    def revoked(self, *tps: TP) -> None:
        self.app.tables.recovery.on_partitions_revoked(set(tps))

    async def open(self, *tps: TP) -> None:
        """Let all of them be read."""
        await self.assigned(*tps)
        self.consumer.resume_partitions(tps)
        self.consumer.resume_flow()

    @property
    def active(self) -> set[TP]:
        return set(self.consumer._get_active_partitions())


@pytest.fixture
async def app() -> AsyncIterator[faust.App]:
    """With a consumer of Kafka that is not connected."""
    app = make_app()
    consumer: Any = app.consumer
    yield app
    consumer._thread.thread_loop.close()  # made with the consumer


@pytest.fixture
async def world(app: faust.App, monkeypatch: pytest.MonkeyPatch) -> Rebalancing:
    consumer: Any = app.consumer
    recovery: Any = app.tables.recovery

    async def on_rebalance(*args: Any, **kwargs: Any) -> None:
        recovery.signal_recovery_start.set()

    async def getmany(active_partitions: Any, timeout: float) -> Any:
        made.wanted = active_partitions
        await made.waits.wait()
        return made.fetched

    monkeypatch.setattr(recovery, "on_rebalance", on_rebalance)
    monkeypatch.setattr(consumer, "_getmany", getmany)
    monkeypatch.setattr(type(app.tables), "changelog_topics", property(lambda _: {CHANGELOG.topic}))
    mended = steady(app, consumer)
    assert mended is not None
    made = Rebalancing(app, consumer, mended)
    made.waits.set()
    return made


async def test_streams_open_when_the_flow_resumes(world: Rebalancing) -> None:
    """Not when Faust says so: it seeks and clears the queues after that."""
    await world.assigned(PHOTOS, CHANGELOG)
    world.consumer.resume_partitions({PHOTOS})
    assert world.active == set()
    world.consumer.resume_flow()
    assert world.active == {PHOTOS}
    assert world.consumer.flow_active


async def test_changelogs_open_at_once(world: Rebalancing) -> None:
    """Tables recover before streams are open, and the flow resumes for them."""
    await world.assigned(PHOTOS, CHANGELOG)
    world.consumer.resume_partitions({CHANGELOG})
    world.consumer.resume_flow()
    assert world.active == {CHANGELOG}
    world.consumer.resume_partitions({PHOTOS})
    assert world.active == {CHANGELOG}
    world.consumer.resume_flow()
    assert world.active == {PHOTOS, CHANGELOG}


async def test_partitions_that_the_app_pauses_itself(world: Rebalancing) -> None:
    """Once the worker is ready, they open when it says so."""
    await world.open(PHOTOS)
    world.consumer.pause_partitions({PHOTOS})
    world.consumer.resume_partitions({PHOTOS})
    assert world.active == {PHOTOS}


async def test_a_recovery_that_comes_too_late(world: Rebalancing) -> None:
    """Of the assignment before: what it opens, and that it resumes the flow, is ignored."""
    await world.assigned(PHOTOS)
    world.consumer.resume_partitions({PHOTOS})
    world.revoked(PHOTOS)
    world.consumer.stop_flow()
    world.consumer.resume_partitions({PHOTOS})
    world.consumer.resume_flow()
    assert not world.consumer.flow_active
    await world.assigned(OTHERS)
    world.consumer.resume_flow()  # of that recovery, or for changelogs
    assert world.active == set()
    world.consumer.resume_partitions({OTHERS})
    world.consumer.resume_flow()
    assert world.active == {OTHERS}


async def test_an_assignment_that_is_superseded(
    world: Rebalancing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust does not recover it, so that nothing may be read yet."""
    world.revoked()
    world.consumer.stop_flow()
    monkeypatch.setattr(world.app.tables.recovery.signal_recovery_start, "is_set", lambda: False)
    await world.assigned(PHOTOS)
    world.consumer.resume_flow()
    assert not world.consumer.flow_active


async def test_a_fetch_that_lasts_over_a_rebalance(world: Rebalancing) -> None:
    """Takes nothing of the next assignment, and what it took before is read again."""
    await world.open(PHOTOS)
    world.waits.clear()
    world.fetched = {PHOTOS: [1, 2]}
    fetch = asyncio.ensure_future(world.consumer._getmany({PHOTOS}, 1.0))
    await settle(lambda: world.wanted)
    assert PHOTOS in world.wanted
    world.revoked(PHOTOS)
    assert PHOTOS not in world.wanted
    world.waits.set()
    assert await fetch == {}


async def test_a_fetch_whose_partitions_are_paused(world: Rebalancing) -> None:
    """For aiokafka, no partitions would mean all partitions."""
    await world.open(PHOTOS, OTHERS)
    world.fetched = {PHOTOS: [1]}
    assert await world.consumer._getmany(world.consumer._get_active_partitions(), 1.0) == {
        PHOTOS: [1]
    }
    world.consumer.pause_partitions({PHOTOS, OTHERS})
    assert world.wanted
    assert OTHERS not in world.wanted


async def test_a_fetch_of_a_client(world: Rebalancing) -> None:
    """Has no partitions of its own, and is left alone."""
    world.fetched = {PHOTOS: [1]}
    assert await world.consumer._getmany(None, 1.0) == {PHOTOS: [1]}
    assert world.wanted is None


async def test_faust_does_not_seek_between_assignments(world: Rebalancing) -> None:
    """Who fetches waits until the flow resumes, instead of seeking at some time after it."""
    await world.open(PHOTOS)
    world.waits.clear()
    fetch = asyncio.ensure_future(world.consumer._wait_next_records(1.0))
    await settle(lambda: world.wanted)
    world.revoked(PHOTOS)
    world.consumer.stop_flow()
    world.waits.set()
    await settle()
    assert not fetch.done()
    world.fetched = {OTHERS: [7]}
    await world.open(OTHERS)
    records, active = await fetch
    assert (records, set(active)) == ({OTHERS: [7]}, {OTHERS})


async def test_a_flow_that_the_app_stops_itself(world: Rebalancing) -> None:
    """There Faust seeks to what is committed, as ever."""
    await world.open(PHOTOS)
    world.waits.clear()
    world.fetched = {PHOTOS: [1]}
    fetch = asyncio.ensure_future(world.consumer._wait_next_records(1.0))
    await settle(lambda: world.wanted)
    world.consumer.stop_flow()
    world.waits.set()
    assert (await fetch)[0] == {PHOTOS: [1]}


async def test_a_stream_that_empties_its_queue(world: Rebalancing) -> None:
    """Does not open partitions that filled it before the rebalance."""
    await world.open(PHOTOS)
    world.consumer.on_buffer_full(PHOTOS)
    world.revoked(PHOTOS)
    await world.assigned(PHOTOS)
    world.consumer.on_buffer_drop(PHOTOS)
    assert world.active == set()


@dataclass
class Waited:
    """Notes what a rebalance waits for."""

    for_what: list[str] = field(default_factory=list)

    def on(self, world: Rebalancing, monkeypatch: pytest.MonkeyPatch) -> Waited:
        async def wait_empty() -> None:
            self.for_what.append("events")

        async def flush() -> None:
            self.for_what.append("messages")

        monkeypatch.setattr(world.consumer, "wait_empty", wait_empty)
        monkeypatch.setattr(world.app.producer, "flush", flush)
        return self


@pytest.mark.parametrize("waits", [True, False])
async def test_subscribing_anew(
    world: Rebalancing, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    """Faust finds no assignment then, and goes on reading: we do what it left out."""
    waited = Waited().on(world, monkeypatch)
    world.app.conf.stream_wait_empty = waits
    await world.open(PHOTOS)
    world.app.flow_control.resume()
    queue = world.app.FlowControlQueue(maxsize=1, clear_on_resume=True)
    queue.put_nowait("an event")
    world.revoked(PHOTOS)
    await world.steady.let_go({PHOTOS})
    assert not world.consumer.flow_active
    assert not world.app.flow_control.is_active()
    assert world.active == set()
    assert queue.empty()
    assert waited.for_what == (["events", "messages"] if waits else ["messages"])


async def test_other_rebalances(world: Rebalancing, monkeypatch: pytest.MonkeyPatch) -> None:
    """There Faust has done all that by itself."""
    waited = Waited().on(world, monkeypatch)
    await world.open(PHOTOS)
    world.consumer.stop_flow()
    await world.steady.let_go({PHOTOS})
    assert waited.for_what == []


async def test_the_first_assignment(world: Rebalancing, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to wait for before it."""
    waited = Waited().on(world, monkeypatch)
    await world.steady.let_go(set())
    assert not world.consumer.flow_active
    assert waited.for_what == []


# -- transactions


@pytest.mark.parametrize("in_transaction", [True, False])
async def test_producers_of_others_partitions(
    world: Rebalancing, monkeypatch: pytest.MonkeyPatch, in_transaction: bool
) -> None:
    """Faust keeps them if the worker is a standby, and would go on with them, fenced."""
    app: Any = world.app
    app.in_transaction = in_transaction
    assignor = SimpleNamespace(
        group_for_topic=lambda topic: 0, is_standby=lambda tp: tp.partition == 1
    )
    monkeypatch.setattr(faust.App, "assignor", assignor)
    stopped: list[str] = []

    async def stop_transaction(name: str) -> None:
        stopped.append(name)

    names = [f"{app.conf.id}-0-{partition}" for partition in range(3)]
    producer = SimpleNamespace(
        _transaction_producers=dict.fromkeys(names), stop_transaction=stop_transaction
    )
    monkeypatch.setattr(world.consumer.transactions, "producer", producer)
    await world.steady.stop_transactions({TP("photos", 0), TP("photos", 1)})
    assert sorted(stopped) == (names[1:] if in_transaction else [])


# -- where it is installed


async def test_only_the_fausts_that_need_it(
    world: Rebalancing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Faust that is mended is left alone."""
    monkeypatch.setattr(module, "AFFECTED", frozenset({"0.0.1"}))
    assert steady(world.app, world.consumer) is None


async def test_only_the_consumer_that_needs_it() -> None:
    """Another transport than aiokafka's has ways of its own."""
    app = connect(make_app())
    assert steady(app, app.consumer) is None


@pytest.mark.parametrize("mends", [True, False])
async def test_the_setting(app: faust.App, mends: bool) -> None:
    """It is installed before the first assignment, once, and can be switched off."""
    s3: S3 = make_s3(app, mend_rebalances=mends)
    await app.on_partitions_revoked.send(set())
    installed = s3._hub.steady
    assert (installed is not None) is mends
    await app.on_partitions_revoked.send(set())
    assert s3._hub.steady is installed
    assert ("_getmany" in vars(app.consumer)) is mends
