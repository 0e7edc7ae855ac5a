"""``s3.rehydrate``: one agent's own way of reading."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import faust
import pytest
from faust.transport.conductor import ConductorCompiler
from faust.types import TP
from stores import CountingStore
from worlds import THRESHOLD, connect, consumer_of, make_app, make_s3, message, settle, stored

from faust_s3 import S3, ConfigError
from faust_s3.claim import MAGIC
from faust_s3.hub import Policy

LARGE = "x" * THRESHOLD


@pytest.fixture(autouse=True)
def no_autodiscovery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust looks for the agent's source on disk, which is for modules, not for a loop."""
    monkeypatch.setattr("faust.app.base.venusian.attach", lambda *args, **kwargs: None)


class World:
    """An app whose agents run, fed by hand."""

    def __init__(self, **settings: Any) -> None:
        self.app = make_app()
        self.store = CountingStore()
        self.s3: S3 = make_s3(self.app, self.store, **settings)
        connect(self.app)
        self.topic: Any = self.app.topic("photos", value_serializer="json|s3")

    @asynccontextmanager
    async def running(self, agent: Any) -> AsyncIterator[Any]:
        """Start an agent, and yield what the conductor would call for its topic."""
        await agent.start()
        await settle()
        try:
            yield ConductorCompiler().build(self.app.topics, TP("photos", 0), {channel_of(agent)})
        finally:
            agent.cancel()
            await agent.stop()

    async def claim(self) -> bytes:
        return await stored(f'"{LARGE}"'.encode(), self.store.inner)


def channel_of(agent: Any) -> Any:
    """Return what a running agent reads from."""
    (channel,) = {actor.stream.channel for actor in agent._actors}
    return channel


def policy_of(agent: Any) -> Policy:
    policy: Policy = channel_of(agent).policy
    return policy


async def test_without_the_decorator() -> None:
    """It is optional: an agent reads by the settings of the ``S3`` object."""
    world = World(prefetch=3, on_bad_claim="skip")
    seen: list[Any] = []

    @world.app.agent(world.topic)
    async def agent(stream: Any) -> None:
        async for value in stream:
            seen.append(value)

    async with world.running(agent) as handle:
        await handle(message(await world.claim()))
        await settle(lambda: seen)
        assert policy_of(agent) == Policy(3, world.s3.config.prefetch_bytes, "skip")
    assert seen == [LARGE]


async def test_without_arguments() -> None:
    """``@s3.rehydrate`` works without parentheses, and changes nothing by itself."""
    world = World(prefetch=3)
    seen: list[Any] = []

    @world.app.agent(world.topic)
    @world.s3.rehydrate
    async def agent(stream: Any) -> None:
        async for value in stream:
            seen.append(value)

    async with world.running(agent) as handle:
        await handle(message(await world.claim()))
        await settle(lambda: seen)
        assert policy_of(agent) == Policy(3, world.s3.config.prefetch_bytes, "raise")
    assert seen == [LARGE]


async def test_with_arguments() -> None:
    """What is given stands for this agent, what is not comes from the settings."""
    world = World(prefetch=3, prefetch_bytes=1000)

    @world.app.agent(world.topic)
    @world.s3.rehydrate(prefetch=7, on_bad_claim="skip")
    async def agent(stream: Any) -> None:
        async for _ in stream:
            pass

    async with world.running(agent):
        assert policy_of(agent) == Policy(7, 1000, "skip")
        queue = channel_of(agent).queue
        assert (queue.prefetch, queue.prefetch_bytes) == (7, 1000)


async def test_a_size_as_text() -> None:
    """Bytes may be written as in the settings."""
    world = World()

    @world.app.agent(world.topic)
    @world.s3.rehydrate(prefetch_bytes="1KiB")
    async def agent(stream: Any) -> None:
        async for _ in stream:
            pass

    async with world.running(agent):
        assert policy_of(agent).prefetch_bytes == 1024


async def test_one_agents_policy_is_its_own() -> None:
    """Another agent on the same topic reads by its own."""
    world = World()

    @world.app.agent(world.topic)
    @world.s3.rehydrate(prefetch=1)
    async def first(stream: Any) -> None:
        async for _ in stream:
            pass

    @world.app.agent(world.topic)
    @world.s3.rehydrate(prefetch=2)
    async def second(stream: Any) -> None:
        async for _ in stream:
            pass

    async with world.running(first), world.running(second):
        assert (policy_of(first).prefetch, policy_of(second).prefetch) == (1, 2)
    assert world.topic.policy.prefetch == world.s3.config.prefetch


async def test_the_policy_is_obeyed() -> None:
    """``on_bad_claim="skip"`` on the agent wins over the settings' ``"raise"``."""
    world = World(on_bad_claim="raise")
    seen: list[Any] = []

    @world.app.agent(world.topic)
    @world.s3.rehydrate(on_bad_claim="skip")
    async def agent(stream: Any) -> None:
        async for value in stream:
            seen.append(value)

    async with world.running(agent) as handle:
        await handle(message(MAGIC + b"nonsense", offset=0))
        await handle(message(b'"next"', offset=1))
        await settle(lambda: seen)
    assert seen == ["next"]
    assert 0 in consumer_of(world.app).acked
    assert not world.app.crashed


async def test_an_agent_that_yields() -> None:
    """Asynchronous generators keep their sinks and replies."""
    world = World()
    sink: list[Any] = []

    @world.app.agent(world.topic, sink=[sink.append])
    @world.s3.rehydrate
    async def agent(stream: Any) -> AsyncIterator[Any]:
        async for value in stream:
            yield len(value)

    async with world.running(agent) as handle:
        await handle(message(await world.claim()))
        await settle(lambda: sink)
    assert sink == [len(LARGE)]


async def test_concurrency() -> None:
    """The actors of one agent share its queue, and every event is seen once."""
    world = World()
    seen: list[Any] = []

    @world.app.agent(world.topic, concurrency=3)
    @world.s3.rehydrate(prefetch=2)
    async def agent(stream: Any) -> None:
        async for value in stream:
            seen.append((value, faust.current_event().message.offset))  # type: ignore[union-attr]

    async with world.running(agent) as handle:
        for offset in range(6):
            await handle(message(await world.claim(), offset=offset))
        await settle(lambda: len(seen) == 6)
    assert sorted(offset for _, offset in seen) == list(range(6))
    assert {value for value, _ in seen} == {LARGE}


async def test_on_a_topic_of_the_decorator() -> None:
    """An agent may read what ``s3.offload`` returned."""
    world = World()
    topic = world.s3.offload(world.app.topic("photos"))

    @world.app.agent(topic)
    @world.s3.rehydrate(prefetch=5)
    async def agent(stream: Any) -> None:
        async for _ in stream:
            pass

    async with world.running(agent):
        assert policy_of(agent).prefetch == 5


# -- what stays as it was


def test_name_doc_and_signature() -> None:
    """Faust names agents after their functions."""
    world_app = make_app()
    s3 = make_s3(world_app)

    async def thumbnails(stream: Any) -> None:
        """Make them small."""

    for wrapped in (s3.rehydrate(thumbnails), s3.rehydrate(prefetch=1)(thumbnails)):
        assert wrapped.__name__ == "thumbnails"
        assert wrapped.__doc__ == "Make them small."
        assert inspect.signature(wrapped) == inspect.signature(thumbnails)
        agent: Any = world_app.agent(world_app.topic("photos"))(wrapped)
        assert agent.name.endswith("thumbnails")


def test_methods_and_more_arguments() -> None:
    """The function gets whatever it is called with."""
    s3 = make_s3(make_app())

    class Stream:
        channel = None

    def fun(stream: Any, more: int, *, most: int) -> Any:
        return (stream, more, most)

    stream = Stream()
    assert s3.rehydrate(fun)(stream, 1, most=2) == (stream, 1, 2)


async def test_under_test_context() -> None:
    """``agent.test_context()`` gives a channel without Kafka; values go in whole."""
    world = World()

    @world.app.agent(world.topic)
    @world.s3.rehydrate(prefetch=1)
    async def agent(stream: Any) -> AsyncIterator[Any]:
        async for value in stream:
            yield value * 2

    async with agent.test_context() as testing:
        event = await testing.put("ab")
        assert testing.results[event.message.offset] == "abab"


async def test_under_test_context_without_yield() -> None:
    """The same for agents that are coroutines."""
    world = World()
    seen: list[Any] = []

    @world.app.agent(world.topic)
    @world.s3.rehydrate
    async def agent(stream: Any) -> None:
        async for value in stream:
            seen.append(value)

    async with agent.test_context() as testing:
        await testing.put("ab")
        await settle(lambda: seen)
    assert seen == ["ab"]


# -- mistakes


def test_above_the_agent() -> None:
    """The order of the decorators matters, and the error says which one is right."""
    app = make_app()
    s3 = make_s3(app)

    @app.agent(app.topic("photos", value_serializer="json|s3"))
    async def thumbnails(stream: Any) -> None: ...

    for decorate in (s3.rehydrate, s3.rehydrate(prefetch=1)):
        with pytest.raises(ConfigError, match=r"above @app.agent at .*thumbnails.*stand below"):
            decorate(thumbnails)


async def test_a_topic_that_does_not_offload() -> None:
    """The decorator would do nothing; the agent says so when it starts."""
    world = World()

    async def thumbnails(stream: Any) -> None: ...

    wrapped = world.s3.rehydrate(thumbnails)
    for topic in (world.app.topic("plain"), make_app().topic("plain")):
        stream = world.app.stream(topic)
        with pytest.raises(ConfigError, match="'thumbnails', but its topic plain does not offload"):
            wrapped(stream)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"prefetch": 0}, "prefetch 0 must be at least 1"),
        ({"prefetch": -1}, "prefetch -1 must be at least 1"),
        ({"prefetch_bytes": 0}, "prefetch_bytes 0 must be at least 1"),
        ({"prefetch": 1.5}, "prefetch 1.5 must be a whole number"),
        ({"prefetch": "many"}, "prefetch 'many' must be a whole number, or a size such as 256KiB"),
        (
            {"on_bad_claim": "ignore"},
            "on_bad_claim 'ignore' must be one of raise, skip, dead_letter, or a function",
        ),
    ],
)
def test_bad_values(arguments: dict[str, Any], sentence: str) -> None:
    """They are refused where they are written, by one sentence."""
    s3 = make_s3(make_app())
    with pytest.raises(ConfigError, match=sentence):
        s3.rehydrate(**arguments)


def test_decorating_before_there_is_an_app() -> None:
    """An ``S3`` that is bound later decorates already."""
    s3 = make_s3()

    @s3.rehydrate(prefetch=1)
    async def agent(stream: Any) -> None: ...

    assert agent.__name__ == "agent"
