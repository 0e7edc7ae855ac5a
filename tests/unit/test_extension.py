"""``S3``: the one object that a user makes."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import weakref
from typing import Any

import faust
import pytest
from faust.exceptions import AlreadyConfiguredWarning, ImproperlyConfigured
from stores import CountingStore
from worlds import (
    THRESHOLD,
    URL,
    claim_in,
    connect,
    make_app,
    make_s3,
    message,
    producer_of,
    settle,
    stored,
)

from faust_s3 import S3, Config, ConfigError
from faust_s3.stores import MemoryStore
from faust_s3.topic import OffloadingTopic

LARGE = "x" * THRESHOLD


@pytest.fixture(autouse=True)
def no_autodiscovery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust looks for the agent's source on disk, which is for modules, not for a loop."""
    monkeypatch.setattr("faust.app.base.venusian.attach", lambda *args, **kwargs: None)


# -- making one


def test_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """``S3()`` without arguments reads ``FAUST_S3_*``, as Faust apps do."""
    monkeypatch.setenv("FAUST_S3_URL", "s3://from-environment/x")
    monkeypatch.setenv("FAUST_S3_THRESHOLD", "1KiB")
    s3 = S3(store=MemoryStore())
    assert str(s3.config.home) == "s3://from-environment/x"
    assert s3.config.threshold == 1024


def test_another_prefix_of_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stores in one environment have a prefix each."""
    monkeypatch.setenv("COLD_URL", "s3://cold")
    assert str(S3(env_prefix="COLD_", store=MemoryStore()).config.home) == "s3://cold"


def test_keywords_stand_above_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the code says stands."""
    monkeypatch.setenv("FAUST_S3_URL", "s3://from-environment")
    assert str(make_s3().config.home) == URL


def test_no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to pass or to set."""
    monkeypatch.delenv("FAUST_S3_URL", raising=False)
    with pytest.raises(ConfigError, match=r"url is not set: pass it .* or set FAUST_S3_URL"):
        S3(store=MemoryStore())


def test_a_config_made_before() -> None:
    """A ``Config`` is taken as it is."""
    config = Config(url=URL, threshold=1)
    assert S3(config=config, store=MemoryStore()).config is config


def test_a_config_and_more() -> None:
    """Two sources of truth are refused."""
    for more in ({"url": URL}, {"threshold": 1}):
        with pytest.raises(ConfigError, match="config is a Config already"):
            S3(config=Config(url=URL), store=MemoryStore(), **more)


def test_a_config_file(tmp_path: Any) -> None:
    """Settings may come from a file."""
    path = tmp_path / "s3.json"
    path.write_text('{"url": "s3://from-file", "threshold": "1KiB"}')
    s3 = S3(config=path, store=MemoryStore())
    assert str(s3.config.home) == "s3://from-file"


def test_errors_of_configuration_are_fausts() -> None:
    """``faust worker`` shows ``ImproperlyConfigured`` as a sentence, without a traceback."""
    with pytest.raises(ImproperlyConfigured):
        make_s3(threshold=-1)


def test_the_s3_store_gets_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``store=`` it is S3, by boto3, with the settings that concern it."""
    seen: dict[str, Any] = {}

    class Recorded(MemoryStore):
        def __init__(self, **settings: Any) -> None:
            super().__init__()
            seen.update(settings)

    monkeypatch.setattr("faust_s3.stores.s3.S3Store", Recorded)
    session: Any = object()
    S3(None, URL, session=session, region="eu-west-1", path_style=True, concurrency=3)
    assert seen["session"] is session
    assert (seen["region"], seen["path_style"], seen["concurrency"]) == ("eu-west-1", True, 3)


def test_repr() -> None:
    """It tells name and place."""
    assert repr(make_s3(name="cold", url="s3://bucket/x")) == "<S3: 'cold' s3://bucket/x>"


def test_making_one_starts_nothing() -> None:
    """At import time there is no loop, no producer, and no configuration to be read."""
    app = make_app()
    s3 = make_s3(app)
    assert not app.configured
    assert app._producer is None
    assert app._transport is None
    assert app._consumer is None
    assert "flow_control" not in app.__dict__
    assert app._loop is None
    assert s3._loop is None


def test_declaring_topics_and_agents_starts_nothing() -> None:
    """Neither does what stands below it in a module."""
    app = make_app()
    s3 = make_s3(app)
    photos: Any = app.topic("photos", value_serializer="json|s3")
    s3.offload(app.topic("others"))

    @app.agent(photos)
    @s3.rehydrate(prefetch=1)
    async def agent(stream: Any) -> None: ...

    assert app._producer is None
    assert "flow_control" not in app.__dict__
    assert app._loop is None


def test_strict_apps() -> None:
    """With ``STRICT`` set Faust raises when settings are read too early; we do not."""
    code = """
import faust
from faust_s3 import S3
from faust_s3.stores import MemoryStore
app = faust.App("strict", broker="kafka://localhost:1")
s3 = S3(app, "s3://bucket", store=MemoryStore())
assert not app.configured
app.finalize()
assert app.topic("photos", value_serializer="json|s3").opt_in.value is s3
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={"STRICT": "1"}, timeout=60)


def test_configuration_after_it() -> None:
    """``app.config_from_object`` below ``S3(app)`` applies, and topics are still aware."""
    app = make_app()
    s3 = make_s3(app)

    class settings:
        topic_partitions = 3

    app.config_from_object(settings)
    assert app.conf.topic_partitions == 3
    topic: Any = app.topic("photos", value_serializer="json|s3")
    assert topic.opt_in.value is s3


def test_an_app_that_is_configured_already() -> None:
    """``S3(app)`` below the first use of ``app.conf`` works for what follows."""
    app = make_app()
    assert app.conf.id == "test"
    s3 = make_s3(app)
    topic: Any = app.topic("photos", value_serializer="json|s3")
    assert topic.opt_in.value is s3


def test_reconfiguration() -> None:
    """An app that is configured anew makes topics that are aware, once."""
    app = make_app()
    make_s3(app)
    assert app.conf.id == "test"
    with pytest.warns(AlreadyConfiguredWarning):
        app.config_from_object({"topic_partitions": 5}, force=True)
    topic: Any = app.topic("photos", value_serializer="json|s3")
    assert app.conf.topic_partitions == 5
    assert sum(cls is OffloadingTopic for cls in type(topic).__mro__) == 1


def test_a_topic_class_by_name() -> None:
    """The setting ``Topic`` may be a string, as everywhere in Faust."""
    app = make_app(Topic="faust.topics:Topic")
    make_s3(app)
    topic = app.topic("photos", value_serializer="json|s3")
    assert isinstance(topic, OffloadingTopic)
    assert isinstance(topic, faust.Topic)


def test_an_app_can_be_forgotten() -> None:
    """Nothing of ours keeps an app alive that nobody uses any more."""
    app = make_app()
    make_s3(app)
    app.topic("photos", value_serializer="json|s3")
    reference = weakref.ref(app)
    del app
    gc.collect()
    assert reference() is None


# -- binding


def test_bind_later() -> None:
    """``S3()`` in one module, ``s3.bind(app)`` in another."""
    s3 = make_s3()
    app = make_app()
    s3.bind(app)
    topic: Any = app.topic("photos", value_serializer="json|s3")
    assert s3.app is app
    assert topic.opt_in.value is s3


def test_bind_twice() -> None:
    """One object serves one app."""
    s3 = make_s3(make_app())
    for app in (s3.app, make_app()):
        assert app is not None
        with pytest.raises(ConfigError, match="is bound to the app 'test' already"):
            s3.bind(app)


def test_a_url_in_place_of_the_app() -> None:
    """The app comes first; who forgets it is not told that the URL is missing."""
    with pytest.raises(ConfigError, match=r"app 's3://bucket' must be a faust\.App; the URL comes"):
        S3("s3://bucket")  # type: ignore[arg-type]


def test_one_name_twice_on_an_app() -> None:
    """The second one is told to take another name."""
    app = make_app()
    make_s3(app)
    with pytest.raises(ConfigError, match=r"has an S3 named 's3' already; pass another name="):
        make_s3(app)


async def test_two_names_on_an_app() -> None:
    """Writers choose by name, readers accept the claims of both."""
    app = make_app()
    hot, cold = CountingStore(), CountingStore()
    make_s3(app, hot)
    make_s3(app, cold, name="cold", url="s3://cold/x")
    connect(app)
    topics: list[Any] = [
        app.topic("photos", value_serializer="json|s3"),
        app.topic("photos", value_serializer="json|cold"),
    ]
    for topic in topics:
        await topic.send(value=LARGE)
    assert (hot.count("put"), cold.count("put")) == (1, 1)
    values = producer_of(app).values
    assert [claim_in(value).bucket for value in values] == ["bucket", "cold"]
    for topic in topics:
        for value in values:
            assert (await topic.decode(message(value), propagate=True)).value == LARGE


async def test_a_claim_that_only_one_of_two_may_redeem() -> None:
    """The other's bucket is not asked."""
    app = make_app()
    hot, cold = CountingStore(), CountingStore()
    make_s3(app, hot)
    make_s3(app, cold, name="cold", url="s3://cold/x")
    connect(app)
    topic: Any = app.topic("photos", value_serializer="json|cold")
    claim = await stored(f'"{LARGE}"'.encode(), hot.inner)
    assert (await topic.decode(message(claim), propagate=True)).value == LARGE
    assert (hot.count("get"), cold.count("get")) == (1, 0)


# -- offload


@pytest.mark.parametrize("topic", [None, "photos", "foreign", "channel"])
def test_offload_takes_a_topic_of_its_app(topic: str | None) -> None:
    """Anything else is refused, and named."""
    app = make_app()
    s3 = make_s3(app)
    given: Any = {
        "foreign": make_app().topic("foreign"),
        "channel": app.channel(),
    }.get(topic or "", topic)
    with pytest.raises(ConfigError, match="takes a topic of the app of this S3, not"):
        s3.offload(given)


def test_offload_of_nothing() -> None:
    """Whoever switches values off and forgets the keys would send them whole."""
    app = make_app()
    with pytest.raises(ConfigError, match="values=False needs keys=True"):
        make_s3(app).offload(app.topic("photos"), values=False)


def test_offload_without_an_app() -> None:
    """An ``S3`` that was not bound has no topics."""
    with pytest.raises(ConfigError, match="takes a topic of the app of this S3"):
        make_s3().offload(make_app().topic("photos"))


def test_offload_of_a_topic_made_before() -> None:
    """Topics above ``S3(app)`` are Faust's own; ``s3.offload`` makes one that is ours."""
    app = make_app()
    topic = app.topic("photos")
    s3 = make_s3(app)
    assert not isinstance(topic, OffloadingTopic)
    assert isinstance(s3.offload(topic), OffloadingTopic)


def test_offload_twice() -> None:
    """It is a choice, not a layer: the class stays, the last choice stands."""
    app = make_app()
    s3 = make_s3(app)
    once = s3.offload(app.topic("photos"))
    twice = s3.offload(once, keys=True)
    assert type(twice) is type(once)
    assert (once.opt_in.key, twice.opt_in.key) == (None, s3)


# -- checks when the app starts


async def started(app: faust.App, s3: S3) -> None:
    """Start as Faust starts us."""
    try:
        await s3.start()
    finally:
        await s3.stop()


async def test_a_good_app_starts() -> None:
    """The checks let through what is right."""
    app = make_app()
    s3 = make_s3(app)

    @app.agent(app.topic("photos", value_serializer="json|s3"))
    async def first(stream: Any) -> None: ...

    @app.agent(app.topic("photos", value_serializer="json|s3", value_type=str))
    async def second(stream: Any) -> None: ...

    @app.agent(app.topic("others"))
    async def third(stream: Any) -> None: ...

    @app.agent(app.channel())
    async def fourth(stream: Any) -> None: ...

    await started(app, s3)


async def test_threaded_producer() -> None:
    """It would pass our topics by; the app does not start with it."""
    app = make_app(producer_threaded=True)
    with pytest.raises(ConfigError, match="producer_threaded=True is set"):
        await started(app, make_s3(app))


@pytest.mark.parametrize(("threshold", "starts"), [(872, True), (873, False)])
async def test_the_threshold_against_the_producers_limit(threshold: int, starts: bool) -> None:
    """No size may be neither large enough for S3 nor small enough for Kafka."""
    app = make_app(producer_max_request_size=1000)
    s3 = make_s3(app, threshold=threshold)
    if starts:
        await started(app, s3)
        return
    sentence = "threshold 873 leaves .* must be below producer_max_request_size 1000 less 128"
    with pytest.raises(ConfigError, match=sentence):
        await started(app, s3)


async def test_a_topic_made_before_that_names_the_codec() -> None:
    """It would block the event loop; the app does not start, and the topic is named."""
    app = make_app()
    early = app.topic("early", value_serializer="json|s3")
    s3 = make_s3(app)

    @app.agent(early)
    async def agent(stream: Any) -> None: ...

    with pytest.raises(ConfigError, match=r"topic early names an S3 codec but was made before"):
        await started(app, s3)


async def test_a_model_with_the_codec_on_a_topic_made_before() -> None:
    """The same if its model names the codec."""

    class Document(faust.Record, serializer="json|s3"):
        text: str

    app = make_app()
    early = app.topic("early", value_type=Document)
    s3 = make_s3(app)

    @app.agent(early)
    async def agent(stream: Any) -> None: ...

    with pytest.raises(ConfigError, match="topic early names an S3 codec"):
        await started(app, s3)


async def test_a_topic_made_before_that_is_plain() -> None:
    """A plain topic stays one, wherever it stands."""
    app = make_app()
    early = app.topic("early")
    s3 = make_s3(app)

    @app.agent(early)
    async def agent(stream: Any) -> None: ...

    await started(app, s3)


async def test_a_topic_read_both_ways() -> None:
    """One reader's claims would be another one's bytes."""
    app = make_app()
    s3 = make_s3(app)

    @app.agent(app.topic("photos", value_serializer="json|s3"))
    async def first(stream: Any) -> None: ...

    @app.agent(app.topic("photos"))
    async def second(stream: Any) -> None: ...

    with pytest.raises(ConfigError, match="'photos' is read both with and without offloading"):
        await started(app, s3)


async def test_topics_that_come_later() -> None:
    """Streams and tables subscribe after the start; they are checked at each assignment."""
    app = make_app()
    early = app.topic("early", value_serializer="json|s3")
    make_s3(app)
    connect(app)
    app.topics.add(early)
    with pytest.raises(ConfigError, match="topic early"):
        await app.on_partitions_assigned.send(set())


# -- life


def test_it_is_a_service_of_the_app() -> None:
    """Faust starts what is added this way first, and stops it last."""
    app = make_app()
    s3 = make_s3(app)
    assert s3 in app._children


async def test_start_and_stop_twice() -> None:
    """Both are idempotent, and a restart works."""
    app = make_app()
    s3 = make_s3(app)
    connect(app)
    topic: Any = app.topic("photos", value_serializer="json|s3")
    await s3.start()
    await s3.maybe_start()
    await topic.send(value=LARGE)
    await s3.stop()
    await s3.stop()
    await s3.restart()
    await topic.send(value=LARGE)
    await s3.stop()
    assert len(producer_of(app).sent) == 2


async def test_stop_closes_the_store() -> None:
    """Threads and connections are given back, as often as it is asked for."""
    closed: list[bool] = []

    class Store(MemoryStore):
        async def close(self) -> None:
            closed.append(True)

    app = make_app()
    s3 = make_s3(app, Store())
    await s3.start()
    assert not closed
    await s3.stop()
    await s3.stop()
    assert closed == [True]
    await s3.close()
    assert closed == [True, True]


async def test_use_without_starting_the_app() -> None:
    """A web server or a script that only sends needs no worker."""
    app = make_app()
    make_s3(app)
    connect(app)
    topic: Any = app.topic("photos", value_serializer="json|s3")
    await topic.send(value=LARGE)
    claim_in(producer_of(app).values[0])


async def test_an_unbound_one_as_a_service() -> None:
    """A script may hold it by ``async with``, without an app."""
    closed: list[bool] = []

    class Store(MemoryStore):
        async def close(self) -> None:
            closed.append(True)

    async with make_s3(store=Store()):
        pass
    assert closed


async def test_stopping_clears_the_queues() -> None:
    """Downloads ahead of agents that have stopped already do not outlive the app."""
    app = make_app()
    s3 = make_s3(app)
    connect(app)
    topic: Any = app.topic("photos", value_serializer="json|s3")
    reader = topic.clone(is_iterator=True)
    reader.queue.put_nowait(await reader.decode(message(b'"v"'), propagate=True))
    await s3.start()
    await s3.stop()
    assert reader.queue.qsize() == 0


def test_an_app_on_another_loop() -> None:
    """The same app may run again on a new event loop, as tests and notebooks do."""
    app = make_app()
    make_s3(app)

    async def send() -> None:
        connect(app)
        topic: Any = app.topic("photos", value_serializer="json|s3")
        await topic.send(value=LARGE)
        event = await topic.decode(message(producer_of(app).values[0]), propagate=True)
        assert event.value == LARGE
        await settle(turns=3)

    for _ in range(2):
        asyncio.run(send())
