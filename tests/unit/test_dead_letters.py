"""What becomes of a claim that can never be redeemed: the policies, in whole apps in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from faust.exceptions import ProducerSendError
from faust.types import Message
from worlds import LARGE, THRESHOLD, Photo, make_app, make_s3

from faust_s3 import AccessDenied, ConfigError, ObjectMissing, PermanentError, StoreUnavailable
from faust_s3.claim import MAGIC, Claim
from faust_s3.letters import Letter
from faust_s3.policy import Verdict
from faust_s3.testing import Record, World, in_memory

LETTERS = "test-dead-letters"
MALFORMED = MAGIC + b"\x09nonsense"
FOREIGN = Claim("others", "prefix/x", 101, 101, bytes(32)).dumps()
PIXELS = "x" * THRESHOLD


@pytest.fixture(autouse=True)
def no_discovery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust looks at source files when an agent is declared; here that is on an event loop."""
    monkeypatch.setattr("faust.app.base.venusian.attach", lambda *args, **kwargs: None)


class Gallery:
    """An app with an agent, and what the agent saw."""

    def __init__(self, policy: dict[str, Any] | None = None, **settings: Any) -> None:
        self.app = make_app(topic_partitions=1)
        self.s3 = make_s3(self.app, **settings)
        self.photos: Any = self.app.topic(
            "photos", key_type=str, value_type=Photo, value_serializer="json|s3"
        )
        self.seen: list[str] = []

        @self.app.agent(self.photos)
        @self.s3.rehydrate(**(policy or {}))
        async def look(stream: Any) -> None:
            async for photo in stream:
                if policy and policy.get("lazy"):
                    photo = await photo.load()
                self.seen.append(photo.name)

    async def send_and_lose(self, world: World, *names: str, lost: str) -> Record:
        """Send photographs; the object of one is lost. Return its record."""
        with world.store.unavailable("get"):
            for name in names:
                await self.photos.send(
                    key=name, value=Photo(name, PIXELS), headers={"name": name.encode()}
                )
            number = names.index(lost)
            world.store.lose(world.offloaded("photos")[number].location)
        return world.published("photos")[number]


def letters(world: World, topic: str = LETTERS) -> list[Letter]:
    found = [
        Letter.loads(record.key, record.value, record.headers) for record in world.published(topic)
    ]
    assert all(found)
    return [each for each in found if each is not None]


# -- dead letters


@pytest.mark.parametrize("lazy", [False, True])
async def test_a_missing_object(lazy: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The letter has the record as it was, the others arrive in order, everything is committed."""
    gallery = Gallery({"on_bad_claim": "dead_letter", "lazy": lazy})
    async with in_memory(gallery.app) as world:
        record = await gallery.send_and_lose(world, "a", "b", "c", lost="b")
        if lazy:
            with pytest.raises(ObjectMissing):
                await world.until(lambda: len(gallery.seen) == 2)
        await world.until(lambda: len(gallery.seen) == 2)
        await world.settled()
        assert gallery.seen == ["a", "c"]
        (letter,) = letters(world)
        assert world.committed("photos") == {0: 3}
    assert (letter.key, letter.value) == (record.key, record.value)
    assert letter.headers == record.headers == (("name", b"b"),)
    assert letter.timestamp == round(record.timestamp * 1000)
    assert (letter.topic, letter.partition, letter.offset) == ("photos", 0, record.offset)
    assert (letter.error, letter.reason) == ("ObjectMissing", "there is no such object")
    assert letter.bucket == "bucket"
    assert letter.object_key
    lines = [line for line in caplog.messages if "cannot be redeemed" in line]
    assert len(lines) == 1
    assert f"on topic {LETTERS}" in lines[0]
    assert f"key={letter.object_key!r}, topic='photos', partition=0, offset=1" in lines[0]
    assert PIXELS not in caplog.text


async def test_other_bad_claims() -> None:
    """Malformed and foreign envelopes, wrong bytes, no access."""
    gallery = Gallery(on_bad_claim="dead_letter")
    async with in_memory(gallery.app) as world:
        world.publish("photos", MALFORMED)
        world.publish("photos", FOREIGN)
        with world.store.unavailable("get"):
            await gallery.photos.send(key="c", value=Photo("changed", PIXELS))
            world.store.corrupt(world.offloaded("photos")[-1].location)
        await world.settled()
        world.store.fail_next(error=AccessDenied("no"), on="get")
        await gallery.photos.send(key="d", value=Photo("denied", PIXELS))
        await gallery.photos.send(key="e", value=Photo("e"))
        await world.settled()
        found = letters(world)
    assert gallery.seen == ["e"]
    assert [letter.error for letter in found] == [
        "ClaimError", "ClaimError", "IntegrityError", "AccessDenied",
    ]  # fmt: skip
    assert [letter.value for letter in found[:2]] == [MALFORMED, FOREIGN]
    assert [letter.bucket for letter in found[:2]] == [None, "others"]


async def test_a_record_that_fills_the_limit() -> None:
    """What is too much for a record of Kafka goes to the store; the letter is below the limit."""
    gallery = Gallery(on_bad_claim="dead_letter")
    limit = gallery.app.conf.producer_max_request_size
    value = MALFORMED + bytes(limit - 200)
    async with in_memory(gallery.app) as world:
        world.publish("photos", value, key=b"k", headers={"a": b"1"})
        await world.settled()
        (letter,) = letters(world)
        assert letter.stored == ("value",)
        assert (letter.key, letter.headers) == (b"k", (("a", b"1"),))
        (payload,) = world.store.objects.values()
        assert payload == value


async def test_while_the_store_is_away() -> None:
    """A letter that needs the store waits for it, and nothing is acknowledged meanwhile."""
    gallery = Gallery(on_bad_claim="dead_letter")
    limit = gallery.app.conf.producer_max_request_size
    async with in_memory(gallery.app) as world:
        with world.store.unavailable():
            world.publish("photos", MALFORMED + bytes(limit - 200))
            await world.until(lambda: len(world.store.failures) > 2)
            await world.app.consumer.commit()
            assert world.committed("photos") == {}
        await world.settled()
        assert len(letters(world)) == 1


async def test_the_topic_may_have_another_name() -> None:
    """``dead_letter_topic`` is it."""
    gallery = Gallery(on_bad_claim="dead_letter", dead_letter_topic="lost")
    async with in_memory(gallery.app) as world:
        world.publish("photos", MALFORMED)
        await world.settled()
        assert len(letters(world, "lost")) == 1


async def test_kafka_does_not_take_the_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker stops, and nothing is acknowledged."""
    gallery = Gallery(on_bad_claim="dead_letter")
    async with in_memory(gallery.app) as world:

        async def refuse(*args: Any, **kwargs: Any) -> None:
            raise ProducerSendError("no")

        monkeypatch.setattr(gallery.app.producer, "send_and_wait", refuse)
        world.publish("photos", MALFORMED)
        world.publish("photos", b'{"name": "next"}')
        with pytest.raises(ProducerSendError, match="no") as raised:
            await world.settled()
        assert isinstance(raised.value.__cause__, PermanentError)
        assert world.committed("photos") == {}
    assert gallery.seen == []


async def test_acknowledged_by_kafka_before_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until Kafka has the letter, neither the record nor the next one leaves the queue."""
    gallery = Gallery(on_bad_claim="dead_letter")
    async with in_memory(gallery.app) as world:
        taken = asyncio.Event()
        send = gallery.app.producer.send_and_wait

        async def slowly(*args: Any, **kwargs: Any) -> Any:
            await taken.wait()
            return await send(*args, **kwargs)

        monkeypatch.setattr(gallery.app.producer, "send_and_wait", slowly)
        world.publish("photos", b'{"name": "before"}')
        world.publish("photos", MALFORMED)
        world.publish("photos", b'{"name": "next"}')
        await world.until(lambda: gallery.seen == ["before"])
        await asyncio.sleep(0.02)
        await world.app.consumer.commit()
        assert world.committed("photos") == {0: 1}
        assert gallery.seen == ["before"]
        taken.set()
        await world.settled()
        assert world.committed("photos") == {0: 3}
    assert gallery.seen == ["before", "next"]


async def test_a_dead_letter_is_not_put_on_its_own_topic() -> None:
    """An agent that reads dead letters would get it again, for ever."""
    gallery = Gallery(on_bad_claim="dead_letter", dead_letter_topic="photos")
    async with in_memory(gallery.app) as world:
        world.publish("photos", MALFORMED)
        with pytest.raises(PermanentError):
            await world.settled()
        assert len(world.published("photos")) == 1


async def test_a_revoked_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was dealt with when the partition is another worker's is not acknowledged."""
    gallery = Gallery(on_bad_claim="dead_letter")
    async with in_memory(gallery.app) as world:
        send = gallery.app.producer.send_and_wait
        acked: list[Message] = []

        async def meanwhile(*args: Any, **kwargs: Any) -> Any:
            gallery.app.consumer_generation_id += 1
            return await send(*args, **kwargs)

        monkeypatch.setattr(gallery.app.producer, "send_and_wait", meanwhile)
        monkeypatch.setattr(gallery.app.consumer, "ack", lambda message: acked.append(message))
        world.publish("photos", MALFORMED)
        await world.until(lambda: world.published(LETTERS))
        await asyncio.sleep(0.02)
        assert acked == []
        monkeypatch.undo()


async def test_the_agents_policy_wins() -> None:
    """One agent of the topic writes a letter, the app's policy is another."""
    gallery = Gallery({"on_bad_claim": "dead_letter"}, on_bad_claim="raise")
    others = gallery.app.topic("others", value_serializer="json|s3")

    @gallery.app.agent(others)
    async def other(stream: Any) -> None:
        async for _ in stream:
            pass

    async with in_memory(gallery.app) as world:
        world.publish("photos", MALFORMED)
        await world.settled()
        assert len(letters(world)) == 1
        world.publish("others", MALFORMED)
        with pytest.raises(PermanentError):
            await world.settled()
        assert len(letters(world)) == 1


# -- functions


def judge(verdict: Any) -> Callable[..., Any]:
    def sync(message: Message, error: PermanentError) -> Any:
        return verdict

    return sync


def async_judge(verdict: Any) -> Callable[..., Any]:
    async def later(message: Message, error: PermanentError) -> Any:
        await asyncio.sleep(0)
        return verdict

    return later


@pytest.mark.parametrize("make", [judge, async_judge])
@pytest.mark.parametrize("lazy", [False, True])
async def test_functions_decide(make: Callable[[Verdict], Any], lazy: bool) -> None:
    """Each word, by functions of either kind, does what it does as a setting."""
    for verdict, count, committed in (("skip", 0, {0: 1}), ("dead_letter", 1, {0: 1})):
        gallery = Gallery({"on_bad_claim": make(verdict), "lazy": lazy})
        async with in_memory(gallery.app) as world:
            world.publish("photos", MALFORMED)
            await world.settled()
            assert len(letters(world)) == count
            assert world.committed("photos") == committed
    gallery = Gallery({"on_bad_claim": make("raise"), "lazy": lazy})
    async with in_memory(gallery.app) as world:
        world.publish("photos", MALFORMED)
        with pytest.raises(PermanentError):
            await world.settled()
        assert world.committed("photos") == {}


async def test_what_a_function_is_told() -> None:
    """The record as it lies on the topic, and the error with all coordinates; once."""
    calls: list[tuple[Message, PermanentError]] = []

    def skip(message: Message, error: PermanentError) -> Verdict:
        calls.append((message, error))
        return "skip"

    gallery = Gallery(on_bad_claim=skip)
    async with in_memory(gallery.app) as world:
        record = await gallery.send_and_lose(world, "a", "b", lost="b")
        await world.settled()
    ((message, error),) = calls
    assert (message.key, message.value, message.offset) == (record.key, record.value, 1)
    assert isinstance(error, ObjectMissing)
    assert (error.topic, error.partition, error.offset) == ("photos", 0, 1)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("verdict", [None, "ignore", ["skip"]])
async def test_a_function_that_returns_something_else(verdict: Any, lazy: bool) -> None:
    """The worker stops: who forgets to return loses no record."""
    gallery = Gallery({"on_bad_claim": async_judge(verdict), "lazy": lazy})
    async with in_memory(gallery.app) as world:
        await gallery.send_and_lose(world, "a", lost="a")
        for _ in range(3):  # the agent's error, what stopped the app, and the refused commit
            with pytest.raises((ConfigError, ObjectMissing, ProducerSendError)):
                await world.settled()
        assert "later returned" in str(gallery.app.crash_reason)
        assert world.committed("photos") == {}


async def test_a_function_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """The worker stops with that error, and the log has the record's as well."""

    def fail(message: Message, error: PermanentError) -> Verdict:
        raise LookupError("a bug")

    gallery = Gallery(on_bad_claim=fail)
    async with in_memory(gallery.app) as world:
        world.publish("photos", MALFORMED)
        with pytest.raises(LookupError, match="a bug") as raised:
            await world.settled()
        assert isinstance(raised.value.__cause__, PermanentError)
        assert world.committed("photos") == {}
    assert "was not dealt with: " in caplog.text
    assert "offset=0" in caplog.text


async def test_a_function_may_send() -> None:
    """What it sends is stored and published before the record is committed."""

    async def report(message: Message, error: PermanentError) -> Verdict:
        await copies.send(value=LARGE.decode())
        return "skip"

    gallery = Gallery({"on_bad_claim": report})
    copies = gallery.app.topic("copies", value_serializer="json|s3")
    async with in_memory(gallery.app) as world:
        world.publish("photos", MALFORMED)
        await world.settled()
        assert [sent.value for sent in world.sent(copies)] == [LARGE.decode()]


async def test_nothing_is_asked_while_the_store_is_away() -> None:
    """That is no bad claim."""
    asked: list[Awaitable[Any]] = []
    gallery = Gallery(on_bad_claim=lambda message, error: asked.append(error))
    async with in_memory(gallery.app) as world:
        world.store.fail_next(5, StoreUnavailable("away"), on="get")
        await gallery.photos.send(key="a", value=Photo("a", PIXELS))
        await world.settled()
    assert asked == []
    assert gallery.seen == ["a"]
