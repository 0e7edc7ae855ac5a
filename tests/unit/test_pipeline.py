"""Payload to claim and back: decided once, tested on a store in memory."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import threading
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import BarrierStore, CountingStore, FailingStore, SlowStore

from faust_s3 import coding
from faust_s3 import pipeline as pipeline_module
from faust_s3.claim import MAGIC, Claim, Inline, parse
from faust_s3.config import Config
from faust_s3.exceptions import (
    AccessDenied,
    ClaimError,
    IntegrityError,
    ObjectMissing,
    PayloadTooLarge,
    StoreUnavailable,
)
from faust_s3.pipeline import Pipeline, reader_of
from faust_s3.retry import Patience
from faust_s3.stores import Location, MemoryStore, Store

URL = "s3://my-bucket/photos"
PAYLOAD = b"payload" * 100
#: More than the pipeline hashes on the event loop.
LARGE = bytes(200_000)


async def at_once(seconds: float) -> None:
    """Wait no time at all."""


IMPATIENT = Patience(timeout=60, sleep=at_once)


def make(store: Store | None = None, **settings: Any) -> Pipeline:
    settings = {"threshold": 10, "cache_bytes": 0, **settings}
    return Pipeline(Config(url=URL, **settings), store if store is not None else MemoryStore())


async def offload(pipeline: Pipeline, payload: bytes = PAYLOAD, **more: Any) -> bytes:
    return await pipeline.offload(payload, **{"topic": "uploads", "patience": IMPATIENT, **more})


async def rehydrate(pipeline: Pipeline, data: bytes) -> bytes:
    return await pipeline.rehydrate(data, patience=IMPATIENT)


def claim_in(data: bytes) -> Claim:
    claim = parse(data)
    assert isinstance(claim, Claim)
    return claim


def place_in(data: bytes) -> Location:
    claim = claim_in(data)
    return Location(claim.bucket, claim.key)


# -- threshold


@pytest.mark.parametrize(
    ("size", "room", "large"),
    [
        (0, None, False),
        (9, None, False),
        (10, None, False),
        (11, None, True),
        (10, 11, False),
        (11, 11, True),
        (10, 10, False),
        (8, 9, False),
        (9, 9, False),
        (10, 9, True),
        (0, 0, False),
        (1, 0, True),
        (0, -5, False),
        (1, -5, True),
    ],
)
def test_edges_of_the_threshold(size: int, room: int | None, large: bool) -> None:
    """A payload is offloaded when larger than the threshold, or than what the producer takes."""
    assert make().is_large(bytes(size), room=room) is large


def test_threshold_of_nothing() -> None:
    """With a threshold of 0 everything is offloaded but what is empty."""
    pipeline = make(threshold=0)
    assert pipeline.is_large(b"x")
    assert not pipeline.is_large(b"")


def test_no_size_is_neither_small_nor_large() -> None:
    """What stays inline fits the producer, in its envelope too."""
    pipeline = make(threshold=1000)
    for size in (4, 5, 127, 128, 1000):
        payload = MAGIC.ljust(size, b"x")
        for room in range(size - 1, size + 12):
            assert pipeline.is_large(payload, room=room) or len(pipeline.wrap(payload)) <= room


# -- inline


@pytest.mark.parametrize("payload", [b"", b"x", b"\xc1fS", b"x" + MAGIC])
def test_small_payloads_stay_as_they_are(payload: bytes) -> None:
    """A small payload goes on the topic untouched."""
    assert make().wrap(payload) == payload


@given(st.binary(max_size=100))
def test_wrapped_payloads_survive(payload: bytes) -> None:
    """Whatever a small payload looks like, a reader gets it back."""
    pipeline = make()
    for data in (payload, MAGIC + payload, Inline(len(payload), payload).dumps()):
        assert pipeline.read(pipeline.wrap(data)) == data


async def test_reading_what_is_no_claim_asks_nobody() -> None:
    """Old records, small ones and inline envelopes need no store."""
    store = CountingStore()
    pipeline = make(store)
    assert await rehydrate(pipeline, b"old record") == b"old record"
    assert await rehydrate(pipeline, b"") == b""
    assert await rehydrate(pipeline, pipeline.wrap(MAGIC)) == MAGIC
    assert store.requests == []


# -- round trip


@pytest.mark.parametrize(
    "payload", [b"", b"x", MAGIC, PAYLOAD, bytes(64 * 1024), bytes(64 * 1024 + 1), LARGE]
)
async def test_round_trip(payload: bytes) -> None:
    """What was offloaded comes back, byte for byte."""
    pipeline = make()
    data = await offload(pipeline, payload)
    assert data != payload
    assert await rehydrate(pipeline, data) == payload


async def test_claims_may_be_payloads() -> None:
    """A claim that is offloaded itself comes back as that claim, not as what it is for."""
    pipeline = make()
    data = await offload(pipeline)
    assert await rehydrate(pipeline, await offload(pipeline, data)) == data


async def test_claim_says_what_was_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim has place, sizes and digest of the object."""
    noon = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
    set_date(monkeypatch, noon)
    store = MemoryStore()
    data = await offload(make(store))
    digest = sha256(PAYLOAD)
    key = f"photos/uploads/2026/01/31/{digest.hexdigest()}"
    assert parse(data) == Claim("my-bucket", key, 700, 700, digest.digest())
    assert await store.get(Location("my-bucket", key), max_size=700) == PAYLOAD


def set_date(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    class Fixed(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            assert tz is timezone.utc
            return now

    monkeypatch.setattr(pipeline_module, "datetime", Fixed)


async def test_template_fields_are_passed_on() -> None:
    """Partition and record key stand in the object key when the template asks for them."""
    pipeline = make(key_template="{topic}/{partition}/{key}/{digest}")
    data = await offload(pipeline, partition=3, key=b"user/42")
    assert claim_in(data).key.startswith("photos/uploads/3/user%2F42/")


async def test_every_upload_has_its_uuid() -> None:
    """With ``{uuid}``, two uploads of one payload are two objects."""
    pipeline = make(key_template="{topic}/{uuid}")
    assert await offload(pipeline) != await offload(pipeline)


async def test_store_verifies_on_arrival() -> None:
    """The digest goes with the object, for the store to refuse bytes broken on the way."""
    given: list[bytes | None] = []

    class Looking(MemoryStore):
        async def put(
            self, location: Location, data: bytes, *, sha256: bytes | None = None
        ) -> None:
            given.append(sha256)

    await offload(make(Looking()))
    assert given == [sha256(PAYLOAD).digest()]


async def test_claim_after_object() -> None:
    """The claim is there once the object is stored, and not before."""
    store = SlowStore()
    task = asyncio.create_task(offload(make(store)))
    await store.entered.wait()
    assert not task.done()
    store.release()
    assert parse(await task) is not None


# -- record keys


async def test_key_claims_are_the_same_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two claims on the same record key are equal, whenever and by whomever they are made."""
    pipeline = make(key_template="{topic}/{date}/{partition}/{key}/{uuid}")
    first = await offload(pipeline, is_key=True)
    set_date(monkeypatch, datetime(2040, 12, 24, tzinfo=timezone.utc))
    assert await offload(pipeline, is_key=True, partition=7, key=b"x") == first
    assert await offload(make(), is_key=True) == first
    assert await rehydrate(pipeline, first) == PAYLOAD


async def test_value_claims_have_the_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims on values differ from day to day, as lifecycle rules need."""
    first = await offload(make())
    set_date(monkeypatch, datetime(2040, 12, 24, tzinfo=timezone.utc))
    assert await offload(make()) != first


# -- what is wrong with a claim


async def test_missing_object() -> None:
    """An object that is not there is ObjectMissing, with its place."""
    store = MemoryStore()
    data = await offload(make(store))
    await store.delete(place_in(data))
    with pytest.raises(ObjectMissing) as caught:
        await rehydrate(make(store), data)
    assert (caught.value.bucket, caught.value.key) == place_in(data)


@pytest.mark.parametrize(
    "stored",
    [b"", PAYLOAD[:-1], PAYLOAD + b"x", PAYLOAD[:-1] + b"x", LARGE],
    ids=["empty", "shorter", "longer", "changed", "much longer"],
)
async def test_other_bytes(stored: bytes) -> None:
    """An object that is not what was offloaded is IntegrityError, and never a payload."""
    store = MemoryStore()
    data = await offload(make(store))
    await store.put(place_in(data), stored)
    with pytest.raises(IntegrityError) as caught:
        await rehydrate(make(store), data)
    assert (caught.value.bucket, caught.value.key) == place_in(data)
    assert caught.value.size == len(PAYLOAD)


async def test_other_bytes_of_a_large_payload() -> None:
    """A changed byte is noticed in payloads that are verified in a thread too."""
    store = MemoryStore()
    data = await offload(make(store), LARGE)
    await store.put(place_in(data), LARGE[:-1] + b"x")
    with pytest.raises(IntegrityError, match="SHA-256"):
        await rehydrate(make(store), data)


async def test_other_bytes_are_not_kept() -> None:
    """A broken object is not cached: once it is mended, its claim is good."""
    store = MemoryStore()
    pipeline = make(store, cache_bytes=10**6)
    data = await offload(pipeline)
    await store.put(place_in(data), b"broken")
    with pytest.raises(IntegrityError):
        await rehydrate(pipeline, data)
    await store.put(place_in(data), PAYLOAD)
    assert await rehydrate(pipeline, data) == PAYLOAD


@pytest.mark.parametrize("payload", [LARGE, bytes(64 * 1024 + 1)])
async def test_large_payloads_are_hashed_in_a_thread(
    payload: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither sending nor receiving holds the event loop up for a digest."""
    threads: list[threading.Thread] = []

    def hashing(data: bytes) -> Any:
        threads.append(threading.current_thread())
        return sha256(data)

    monkeypatch.setattr(coding, "sha256", hashing)
    pipeline = make()
    assert await rehydrate(pipeline, await offload(pipeline, payload)) == payload
    assert len(threads) == 2
    assert threading.main_thread() not in threads


async def test_no_more_is_read_than_the_claim_says() -> None:
    """The store is told the most bytes that are wanted."""
    sizes: list[int] = []

    class Looking(MemoryStore):
        async def get(self, location: Location, *, max_size: int) -> bytes:
            sizes.append(max_size)
            return await super().get(location, max_size=max_size)

    pipeline = make(Looking())
    await rehydrate(pipeline, await offload(pipeline))
    assert sizes == [len(PAYLOAD)]


@pytest.mark.parametrize(
    ("bucket", "key"),
    [("other", "photos/x"), ("my-bucket", "photos-private/x"), ("my-bucket", "x")],
)
async def test_foreign_claims(bucket: str, key: str) -> None:
    """A claim for a place that is not ours is ClaimError, and no request is made."""
    store = CountingStore()
    await store.put(Location(bucket, key), PAYLOAD)
    store.requests.clear()
    forged = Claim(bucket, key, len(PAYLOAD), len(PAYLOAD), sha256(PAYLOAD).digest()).dumps()
    with pytest.raises(ClaimError, match="names a place outside"):
        await rehydrate(make(store), forged)
    assert store.requests == []


async def test_allowed_claims() -> None:
    """A claim for a place that is allowed is redeemed."""
    store = MemoryStore()
    data = await offload(make(store))
    config = Config(url="s3://new", allow=(URL,))
    assert await rehydrate(Pipeline(config, store), data) == PAYLOAD


async def test_malformed_claims() -> None:
    """Bytes with the magic that are no envelope are ClaimError, and no request is made."""
    store = CountingStore()
    with pytest.raises(ClaimError):
        await rehydrate(make(store), MAGIC + b"\x09")
    assert store.requests == []


# -- caps


@pytest.mark.parametrize("size", [99, 100])
async def test_up_to_the_cap(size: int) -> None:
    """Payloads up to the cap go both ways."""
    pipeline = make(max_payload=100)
    assert await rehydrate(pipeline, await offload(pipeline, bytes(size))) == bytes(size)


async def test_sending_above_the_cap() -> None:
    """A payload above the cap is refused before anything is sent."""
    store = CountingStore()
    with pytest.raises(PayloadTooLarge) as caught:
        await offload(make(store, max_payload=100), bytes(101))
    assert (caught.value.size, caught.value.topic) == (101, "uploads")
    assert store.requests == []


async def test_receiving_above_the_cap() -> None:
    """A claim for more than the cap is refused before anything is read."""
    store = CountingStore()
    data = await offload(make(store), bytes(101))
    store.requests.clear()
    with pytest.raises(PayloadTooLarge) as caught:
        await rehydrate(make(store, max_payload=100), data)
    assert caught.value.size == 101
    assert (caught.value.bucket, caught.value.key) == place_in(data)
    assert store.requests == []


# -- when the store is away


async def test_put_is_tried_again() -> None:
    """A store that is away for a while does not fail an upload."""
    store = FailingStore(3)
    pipeline = make(store)
    data = await offload(pipeline)
    assert store.count("put") == 4
    assert await rehydrate(pipeline, data) == PAYLOAD


async def test_put_is_tried_again_at_the_same_place() -> None:
    """A retry writes the same object: nothing is left behind, with ``{uuid}`` neither."""
    store = FailingStore(3)
    await offload(make(store, key_template="{uuid}"))
    assert len({location for _, location in store.requests}) == 1


async def test_get_is_tried_again() -> None:
    """A store that is away for a while does not fail a download."""
    inner = MemoryStore()
    data = await offload(make(inner))
    store = FailingStore(3, inner)
    assert await rehydrate(make(store), data) == PAYLOAD
    assert store.count("get") == 4


async def test_patience_ends() -> None:
    """A caller whose patience ends gets the last error, with the number of tries."""
    pipeline = make(FailingStore(100))
    with pytest.raises(StoreUnavailable) as caught:
        await offload(pipeline, patience=Patience(timeout=0))
    assert caught.value.attempts == 1


@pytest.mark.parametrize("error", [AccessDenied("no"), ObjectMissing("gone")])
async def test_permanent_errors_are_not_tried_again(error: AccessDenied | ObjectMissing) -> None:
    """What will fail again is asked for once."""
    inner = MemoryStore()
    data = await offload(make(inner))
    store = FailingStore([error], inner)
    with pytest.raises(type(error)):
        await rehydrate(make(store), data)
    assert store.count("get") == 1


async def test_a_damaged_object_ends_an_outage() -> None:
    """A store that answers is not away, whatever it answers with."""
    inner = MemoryStore()
    data = await offload(make(inner))
    await inner.put(place_in(data), PAYLOAD[::-1])
    pipeline = make(FailingStore(2, inner))
    with pytest.raises(IntegrityError):
        await rehydrate(pipeline, data)
    assert pipeline.away == 0.0


# -- limits and sharing


async def test_concurrency_is_reached_and_bounded() -> None:
    """So many requests run at once, and not one more."""
    store = BarrierStore(3)
    pipeline = make(store, concurrency=3)
    payloads = [b"%d" % number * 20 for number in range(10)]
    envelopes = await asyncio.gather(*(offload(pipeline, payload) for payload in payloads))
    assert store.most == 3
    store.most = 0
    results = await asyncio.gather(*(rehydrate(pipeline, data) for data in envelopes))
    assert results == payloads
    assert store.most == 3


@pytest.mark.parametrize(("fewest", "most"), [(None, 8), (1, 5), (6, 6)])
async def test_concurrency_finds_its_level(fewest: int | None, most: int) -> None:
    """With ``min_concurrency`` there are fewer requests once the store has refused one."""
    store = BarrierStore(most)
    pipeline = make(FailingStore(1, store), concurrency=8, min_concurrency=fewest)
    first = asyncio.create_task(offload(pipeline, b"refused once"))
    await asyncio.sleep(0)
    await asyncio.gather(*(offload(pipeline, b"%d" % number * 20) for number in range(20)))
    await first
    assert store.most == most


async def test_waiting_takes_no_slot() -> None:
    """Who waits to try again holds up nobody."""
    waiting, on = asyncio.Event(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        waiting.set()
        await on.wait()

    pipeline = make(FailingStore(1), concurrency=1)
    slow = asyncio.create_task(offload(pipeline, patience=Patience(sleep=sleep)))
    await waiting.wait()
    await offload(pipeline, b"another payload")
    assert not slow.done()
    on.set()
    await slow


async def test_readers_of_one_claim_share_a_request() -> None:
    """Agents that want the same payload at the same time make one request."""
    inner = MemoryStore()
    data = await offload(make(inner))
    store = SlowStore(inner)
    pipeline = make(store)
    tasks = [asyncio.create_task(rehydrate(pipeline, data)) for _ in range(5)]
    await store.entered.wait()
    store.release()
    assert await asyncio.gather(*tasks) == [PAYLOAD] * 5
    assert store.count("get") == 1


async def test_cache_saves_a_request() -> None:
    """An agent that comes a little later finds the payload in the cache."""
    store = CountingStore()
    pipeline = make(store, cache_bytes=10**6)
    data = await offload(pipeline)
    assert await rehydrate(pipeline, data) == await rehydrate(pipeline, data) == PAYLOAD
    assert store.count("get") == 1


async def test_no_cache() -> None:
    """Without a cache, each reader asks the store."""
    store = CountingStore()
    pipeline = make(store)
    data = await offload(pipeline)
    await rehydrate(pipeline, data)
    await rehydrate(pipeline, data)
    assert store.count("get") == 2


async def test_cache_does_not_trust_another_claim() -> None:
    """A claim for the same object with another digest is not served from the cache."""
    pipeline = make(cache_bytes=10**6)
    data = await offload(pipeline)
    assert await rehydrate(pipeline, data) == PAYLOAD
    forged = dataclasses.replace(claim_in(data), sha256=bytes(32))
    with pytest.raises(IntegrityError):
        await pipeline.redeem(forged, patience=IMPATIENT)


async def test_busy_while_a_request_is_waited_for() -> None:
    """Under way, or between two tries: that is what keeps a worker in its group."""
    pipeline = make(FailingStore(1))
    states = [pipeline.busy]

    async def look(seconds: float) -> None:
        states.append(pipeline.busy)

    await pipeline.offload(PAYLOAD, topic="uploads", patience=Patience(sleep=look))
    assert [*states, pipeline.busy] == [False, True, False]


async def test_cancelled_reader_gives_its_slot_back() -> None:
    """A download that is cancelled makes room for the next one."""
    inner = MemoryStore()
    data = await offload(make(inner))
    store = SlowStore(inner)
    pipeline = make(store, concurrency=1)
    task = asyncio.create_task(rehydrate(pipeline, data))
    await store.entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    store.release()
    assert await rehydrate(pipeline, data) == PAYLOAD


def test_one_pipeline_on_several_event_loops() -> None:
    """Each event loop has its own limits; what one offloads another rehydrates."""
    pipeline = make(BarrierStore(1), concurrency=1)

    async def several() -> list[bytes]:
        return await asyncio.gather(*(offload(pipeline, b"%d" % n * 20) for n in range(3)))

    first = asyncio.run(several())
    assert asyncio.run(several()) == first
    assert asyncio.run(rehydrate(pipeline, first[0])) == b"0" * 20


def test_event_loops_are_let_go() -> None:
    """What belonged to an event loop goes with it, its cache too."""
    pipeline = make(BarrierStore(1), concurrency=1)

    async def several() -> None:
        await asyncio.gather(*(offload(pipeline, b"%d" % n * 20) for n in range(3)))

    for _ in range(5):
        asyncio.run(several())
    gc.collect()
    assert len(pipeline._per_loop) <= 1


# -- several pipelines


async def test_reader_is_the_one_that_accepts() -> None:
    """A claim is read by the store that it belongs to."""
    ours, theirs = make(), Pipeline(Config(url="s3://theirs"), MemoryStore())
    data = await theirs.offload(PAYLOAD, topic=None)
    assert reader_of([ours, theirs], data) == (theirs, claim_in(data))


def test_reader_of_a_plain_payload_is_the_first() -> None:
    """What is no claim is read by anyone."""
    ours = make()
    assert reader_of([ours, make()], b"plain") == (ours, b"plain")


def test_no_reader() -> None:
    """When none accepts a claim, the reason is that of the first."""
    data = Claim("elsewhere", "x", 1, 1, bytes(32)).dumps()
    theirs = Pipeline(Config(url="s3://theirs"), MemoryStore())
    with pytest.raises(ClaimError, match="outside s3://my-bucket/photos"):
        reader_of([make(), theirs], data)


def test_no_pipeline() -> None:
    """Without a store, a claim is refused with a sentence."""
    with pytest.raises(ClaimError, match="no store is configured"):
        reader_of([], b"anything")
