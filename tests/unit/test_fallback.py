"""What is sent inline while the store is away, and what is not."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from stores import FailingStore
from worlds import (
    LARGE,
    THRESHOLD,
    claim_in,
    commit,
    connect,
    make_app,
    make_s3,
    message,
    processing,
    producer_of,
    settle,
)

from faust_s3 import (
    AccessDenied,
    ConfigError,
    PayloadTooLarge,
    S3Error,
    StoreUnavailable,
    fallback,
    retry,
)
from faust_s3.claim import Inline, parse
from faust_s3.prefetch import Pending
from faust_s3.testing import in_memory

AWAY = 10_000  # tries
#: What Kafka takes, and how much of it a value may have.
LIMIT, ROOM = 5000, 5000 - 128


class World:
    """An app that falls back, with a topic of bytes."""

    def __init__(self, errors: list[S3Error] | int = AWAY, **settings: Any) -> None:
        conf = {name: settings.pop(name) for name in CONF if name in settings}
        self.app = connect(make_app(producer_max_request_size=LIMIT, **conf))
        self.store = FailingStore(errors)
        settings = {"fallback": "inline", "send_timeout": 0.01, **settings}
        self.s3 = make_s3(self.app, self.store, **settings)
        self.photos: Any = self.s3.offload(self.app.topic("photos", value_serializer="raw"))
        self.source = message(b"source", topic="source", offset=5)

    @property
    def values(self) -> list[bytes | None]:
        return producer_of(self.app).values

    def processing(self) -> Any:
        """As in an agent."""
        return processing(self.app.create_event(None, "source", None, self.source))

    async def commit(self) -> int | None:
        return await commit(self.app, self.source.tp, self.source.offset)


CONF = ("stream_publish_on_commit",)


async def test_what_fits_goes_inline(caplog: pytest.LogCaptureFixture) -> None:
    """After ``send_timeout``, with a warning, and everybody can read it."""
    world = World()
    await world.photos.send(value=LARGE)
    assert world.values == [LARGE]
    assert world.store.count("put") > 1
    told = [record.message for record in caplog.records if "inline" in record.message]
    assert told == [
        f"s3://bucket/prefix is unavailable, so values go to Kafka inline: 1 since this was "
        f"said last, one of {len(LARGE)} bytes to the topic photos: the store is away "
        f"(attempts={world.store.count('put')})"
    ]
    event = await world.photos.decode(message(world.values[0]), propagate=True)
    assert not isinstance(event, Pending)
    assert event.value == LARGE


async def test_in_an_agent_too() -> None:
    """The source event is held until Kafka has the value, and then it is committed."""
    world = World()
    with world.processing():
        await (await world.photos.send(value=LARGE))
    assert world.values == [LARGE]
    assert await world.commit() == 6


async def test_send_soon_and_on_commit() -> None:
    """Every way to send comes to the same place."""
    world = World(stream_publish_on_commit=True)
    await world.photos.send_soon(value=LARGE)
    assert world.values == [LARGE]
    with world.processing():
        sent = await world.photos.send(value=LARGE)
    await settle(lambda: world.store.count("put") > 3)
    assert world.values == [LARGE]
    assert await world.commit() == 6
    await sent
    assert world.values == [LARGE, LARGE]


async def test_the_default_is_to_raise() -> None:
    """Nobody's topic has large records that did not ask for them."""
    world = World(fallback="raise")
    with pytest.raises(StoreUnavailable):
        await world.photos.send(value=LARGE)
    assert world.values == []


@pytest.mark.parametrize(
    ("key", "headers", "room"),
    [(None, None, ROOM), (b"k" * 100, None, ROOM - 100), (None, {"h": b"v" * 90}, ROOM - 101)],
)
async def test_the_limit_is_that_of_the_record(
    key: bytes | None, headers: dict[str, bytes] | None, room: int
) -> None:
    """Key and headers count; what is one byte too large is the caller's to deal with."""
    world = World()
    await world.photos.send(key=key, value=b"x" * room, headers=headers)
    assert world.values == [b"x" * room]
    with pytest.raises(StoreUnavailable):
        await world.photos.send(key=key, value=b"x" * (room + 1), headers=headers)
    assert world.values == [b"x" * room]


async def test_an_agent_waits_with_what_does_not_fit() -> None:
    """As ever: until the store is back. What was sent behind it stays behind it."""
    world = World(50, send_timeout=1e-9)
    with world.processing():
        large = await world.photos.send(value=b"x" * LIMIT)
        small = await world.photos.send(value=b"small")
        await asyncio.gather(large, small)
    first, second = world.values
    assert claim_in(first).payload_size == LIMIT
    assert second == b"small"


async def test_order_is_kept() -> None:
    """Values that go inline are published in their turn."""
    world = World()
    values = [bytes([number]) * (THRESHOLD * (number % 2) + 1) for number in range(6)]
    with world.processing():
        await asyncio.gather(*[await world.photos.send(value=value) for value in values])
    assert world.values == values


async def test_what_looks_like_an_envelope_is_wrapped() -> None:
    """So that it comes back as it was."""
    world = World()
    value = Inline(3, b"abc").dumps() + LARGE
    await world.photos.send(value=value)
    (sent,) = world.values
    assert sent is not None
    assert parse(sent) == Inline(len(value), value)


async def test_keys_do_not_go_inline() -> None:
    """A key's bytes decide on compaction: they must be the same for ever."""
    world = World()
    topic = world.s3.offload(world.app.topic("photos", value_serializer="raw"), keys=True)
    with pytest.raises(StoreUnavailable):
        await topic.send(key=LARGE, value=b"small")
    assert world.values == []


@pytest.mark.parametrize("error", [AccessDenied("no"), PayloadTooLarge("for the store")])
async def test_a_refusal_is_no_outage(error: S3Error) -> None:
    """Nor a reason to fill Kafka for good."""
    world = World([error])
    with pytest.raises(type(error)):
        await world.photos.send(value=LARGE)
    assert world.values == []


async def test_a_long_outage_is_not_waited_for_each_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once it has lasted ``send_timeout``, a value is tried once; and the log is not flooded."""
    now = 1000.0
    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: now))
    world = World(3, send_timeout=60)
    world.s3.pipeline._outage.failed(StoreUnavailable("since now"), 1)
    now += 60
    for number in range(3):
        await world.photos.send(value=LARGE)
        assert world.store.count("put") == number + 1
    assert world.values == [LARGE] * 3
    assert sum("inline: 1 since" in record.message for record in caplog.records) == 1
    assert sum("inline" in record.message for record in caplog.records) == 1
    await world.photos.send(value=LARGE)
    claim_in(world.values[-1])
    assert world.s3.pipeline.away == 0.0


async def test_the_log_counts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line in half a minute says how many there were."""
    now = 1000.0
    world = World(send_timeout=1e-9)
    monkeypatch.setattr(fallback, "time", SimpleNamespace(monotonic=lambda: now))
    for _ in range(3):
        await world.photos.send(value=LARGE)
    now += 30
    caplog.set_level(logging.WARNING)
    await world.photos.send(value=LARGE)
    counts = [
        record.args[1]
        for record in caplog.records
        if record.name == "faust_s3.fallback" and isinstance(record.args, tuple)
    ]
    assert counts == [1, 3]


async def test_the_end_of_the_app_is_no_outage() -> None:
    """Nobody has waited long enough; in an agent the event is delivered again."""
    world = World(send_timeout=1000)
    with world.processing():
        sent = await world.photos.send(value=LARGE)
        await settle(lambda: world.store.count("put") > 1)
        await world.app.crash(RuntimeError("another reason"))
        with pytest.raises(StoreUnavailable):
            await sent
    assert world.values == []
    assert await world.commit() != 6


def test_the_codec_by_itself_raises() -> None:
    """It knows neither the producer's limit nor the rest of the record."""
    s3 = make_s3(None, FailingStore(AWAY), fallback="inline", send_timeout=0.01)
    with pytest.raises(StoreUnavailable):
        s3.codec_for("photos").dumps(LARGE)
    s3.blocking.close()


def test_other_words() -> None:
    """The sentence names them."""
    with pytest.raises(ConfigError, match="fallback 'kafka' must be one of raise, inline"):
        make_s3(fallback="kafka")


async def test_in_a_users_test() -> None:
    """The testing kit shows it."""
    app = make_app()
    make_s3(app)
    topic = app.topic("photos", value_serializer="json|s3")
    async with in_memory(app, fallback="inline", send_timeout=0.01) as world:
        with world.store.unavailable("put"):
            await topic.send(value="x" * THRESHOLD)
        assert [sent.value for sent in world.sent(topic)] == ["x" * THRESHOLD]
        assert not world.offloaded(topic)
