"""The codec: opting in by name inside topics, the whole work outside of them."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import json
from collections.abc import Iterator
from typing import Any

import faust
import pytest
from faust.exceptions import SecurityWarning
from faust.serializers import codecs
from stores import CountingStore, FailingStore
from worlds import (
    LARGE,
    THRESHOLD,
    claim_in,
    connect,
    make_app,
    make_s3,
    message,
    producer_of,
)

from faust_s3 import S3, ConfigError, ObjectMissing, StoreUnavailable
from faust_s3.claim import MAGIC, Inline
from faust_s3.codec import NamedCodec, S3Codec, find_codec, owners
from faust_s3.stores import MemoryStore

SERIALIZERS = ["json", "pickle", "pickle_restricted", "binary", "raw", "yaml"]


@pytest.fixture(autouse=True)
def nobody_else() -> Iterator[None]:
    """Let no ``S3`` of another test answer to the name."""
    others = list(owners)
    owners.clear()
    yield
    owners.clear()
    owners.update(others)


def loaded(serializer: str, value: Any) -> Any:
    """What Faust's own codec returns for a value that it dumped."""
    return codecs.loads(serializer, codecs.dumps(serializer, value))


def values_for(serializer: str) -> list[Any]:
    """A small and a large value, as the serializer takes them."""
    texts: list[Any] = ["small", "large" * THRESHOLD]
    if serializer in ("binary", "raw"):
        return texts
    return [{"text": text} for text in texts]


@pytest.fixture
def quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """Faust warns about pickle wherever it is named or used."""
    with pytest.MonkeyPatch.context() as patch:
        if request.node.callspec.params["serializer"] == "pickle":
            patch.setattr(codecs, "warnings", _Silence())
        yield


class _Silence:
    """Stands in for the module; ``pytest.warns`` would demand one warning everywhere."""

    def warn(self, text: str, category: type[Warning], stacklevel: int = 1) -> None:
        assert category is SecurityWarning


# -- outside topics


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_round_trip_outside_topics(serializer: str) -> None:
    """Behind every codec that Faust brings, small and large values come back by name."""
    s3 = make_s3()
    for value in values_for(serializer):
        data = codecs.dumps(f"{serializer}|s3", value)
        assert codecs.loads(f"{serializer}|s3", data) == loaded(serializer, value)
    s3.blocking.close()


def test_large_values_become_claims_outside_topics() -> None:
    """What a plain script dumps is a claim, and the object is in the store."""
    store = CountingStore()
    s3 = make_s3(store=store)
    claim = claim_in(codecs.dumps("raw|s3", LARGE))
    assert [claim.key] == [place.key for _, place in store.requests]
    s3.blocking.close()


def test_the_threshold_outside_topics() -> None:
    """Exactly the threshold stays as it is, one byte more is offloaded."""
    store = CountingStore()
    s3 = make_s3(store=store)
    at, above = b"x" * THRESHOLD, b"x" * (THRESHOLD + 1)
    assert s3.codec.dumps(at) == at
    assert not store.requests
    assert s3.codec.dumps(above) != above
    assert store.count("put") == 1
    s3.blocking.close()


@pytest.mark.parametrize("payload", [b"", b"null", b"\xff\xfe", b'{"a": 1}'])
def test_unmarked_data_passes(payload: bytes) -> None:
    """Records from before the switch, and small ones, are loaded without a request."""
    s3 = make_s3(store=CountingStore())
    assert s3.codec.loads(payload) == payload
    assert s3.codec.dumps(payload) == payload


def test_tombstones_pass_outside_topics() -> None:
    """``None`` under ``raw|s3`` is what it is under ``raw``: ``None``."""
    s3 = make_s3()
    assert (codecs.get_codec("raw") | s3.codec).dumps(None) is None


def test_a_payload_like_a_claim_survives() -> None:
    """Bytes that begin with the magic are wrapped, and come back."""
    s3 = make_s3()
    for payload in (MAGIC, MAGIC + b"no claim"):
        data = s3.codec.dumps(payload)
        assert data == Inline(len(payload), payload).dumps()
        assert s3.codec.loads(data) == payload


def test_bound_codec_needs_no_registry() -> None:
    """``get_codec("json") | s3.codec`` works with the one object that it came from."""
    s3 = make_s3()
    make_s3()  # makes the name ambiguous
    chain = codecs.get_codec("json") | s3.codec
    value = {"text": "x" * THRESHOLD}
    assert chain.loads(chain.dumps(value)) == value
    s3.blocking.close()


def test_codec_for_a_topic() -> None:
    """``codec_for(topic)`` puts objects where the topic would."""
    s3 = make_s3()
    assert "/photos/" in claim_in(s3.codec_for("photos").dumps(LARGE)).key
    assert "/-/" in claim_in(s3.codec.dumps(LARGE)).key
    s3.blocking.close()


def test_errors_outside_topics() -> None:
    """Without a topic the errors are the caller's."""
    store = MemoryStore()
    s3 = make_s3(store=store)
    data = s3.codec.dumps(LARGE)
    store._objects.clear()
    with pytest.raises(ObjectMissing):
        s3.codec.loads(data)
    s3.blocking.close()


def test_the_caller_does_not_wait_for_ever() -> None:
    """Outside topics ``send_timeout`` ends it."""
    s3 = make_s3(store=FailingStore(1000), send_timeout=0.01)
    with pytest.raises(StoreUnavailable, match="attempts="):
        s3.codec.dumps(LARGE)
    s3.blocking.close()


@pytest.mark.may_block
async def test_use_on_a_running_loop() -> None:
    """A notebook has a loop running, and the codec works there too."""
    s3 = make_s3()
    assert s3.codec.loads(s3.codec.dumps(LARGE)) == LARGE
    s3.blocking.close()


def test_a_model_can_name_the_codec() -> None:
    """``Record(serializer="json|s3")`` dumps and loads by itself."""

    class Document(faust.Record, serializer="json|s3"):
        text: str

    s3 = make_s3()
    document = Document(text="x" * THRESHOLD)
    data = document.dumps()
    claim_in(data)
    assert Document.loads(data) == document
    s3.blocking.close()


# -- in topics


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("serializer", SERIALIZERS)
async def test_round_trip_through_a_topic(serializer: str) -> None:
    """Behind every codec that Faust brings, values go through a topic and come back."""
    app = make_app()
    make_s3(app)
    connect(app)
    topic = app.topic("photos", value_serializer=f"{serializer}|s3")
    for value in values_for(serializer):
        await topic.send(value=value)
    for value, data in zip(values_for(serializer), producer_of(app).values, strict=True):
        event = await topic.decode(message(data), propagate=True)
        assert event.value == loaded(serializer, value)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("serializer", SERIALIZERS)
async def test_same_bytes_inside_and_outside(serializer: str) -> None:
    """Readers cannot tell a topic's records from a script's."""
    app = make_app()
    s3 = make_s3(app)
    connect(app)
    topic = app.topic("photos", value_serializer=f"{serializer}|s3")
    outside = codecs.get_codec(serializer) | s3.codec_for("photos")
    for value in values_for(serializer):
        await topic.send(value=value)
        assert producer_of(app).values[-1] == await asyncio.to_thread(outside.dumps, value)
    await asyncio.to_thread(s3.blocking.close)


async def test_no_request_by_the_codec_inside_a_topic() -> None:
    """In a topic the codec only tells that it was named: no thread, no second upload."""
    app = make_app()
    store = CountingStore()
    s3 = make_s3(app, store)
    connect(app)
    topic = app.topic("photos", value_serializer="json|s3")
    await topic.send(value="x" * THRESHOLD)
    await topic.decode(message(producer_of(app).values[0]), propagate=True)
    assert (store.count("put"), store.count("get")) == (1, 1)
    assert s3.blocking._thread is None


async def test_a_topic_takes_the_codec_itself() -> None:
    """``value_serializer=codecs.get_codec("json") | s3.codec`` opts in as the name does."""
    app = make_app()
    s3 = make_s3(app)
    connect(app)
    topic = app.topic("photos", value_serializer=codecs.get_codec("json") | s3.codec)
    await topic.send(value="x" * THRESHOLD)
    claim_in(producer_of(app).values[0])
    event = await topic.decode(message(producer_of(app).values[0]), propagate=True)
    assert event.value == "x" * THRESHOLD


async def test_a_models_codec_opts_the_topic_in() -> None:
    """A topic of ``Record(serializer="json|s3")`` needs no serializer of its own."""

    class Document(faust.Record, serializer="json|s3"):
        text: str

    app = make_app()
    make_s3(app)
    connect(app)
    topic = app.topic("photos", value_type=Document)
    await topic.send(value=Document(text="x" * THRESHOLD))
    data = producer_of(app).values[0]
    claim_in(data)
    assert (await topic.decode(message(data), propagate=True)).value.text == "x" * THRESHOLD


async def test_unpickling_still_warns() -> None:
    """``pickle|s3`` is as dangerous as ``pickle``, and Faust says so."""
    app = make_app()
    make_s3(app)
    with pytest.warns(SecurityWarning):
        app.topic("photos", value_serializer="pickle|s3")


async def test_old_records_are_read_after_switching_on() -> None:
    """What lies on the topic from before is plain, and read as it was."""
    app = make_app()
    make_s3(app)
    connect(app)
    topic = app.topic("photos", value_serializer="json|s3")
    long_ago = json.dumps("x" * 10 * THRESHOLD).encode()
    assert (await topic.decode(message(long_ago))).value == "x" * 10 * THRESHOLD


# -- places


def test_must_be_last_by_name() -> None:
    """A claim is the outermost encoding; a chain that says otherwise says so when used."""
    make_s3()
    with pytest.raises(ConfigError, match=r"must be the last in a chain, like 'json\|s3'"):
        codecs.get_codec("s3|json")


@pytest.mark.parametrize("chain", ["s3|json", "json|s3|binary", "s3|s3"])
def test_must_be_last_in_a_topic(chain: str) -> None:
    """A topic refuses it where it is made, naming the serializer."""
    app = make_app()
    make_s3(app)
    with pytest.raises(ConfigError, match="in the wrong place; it must be the last") as raised:
        app.topic("photos", value_serializer=chain)
    assert repr(chain) in str(raised.value)


def test_must_be_last_as_an_object() -> None:
    """``s3.codec | another`` is refused as well, naming both."""
    s3 = make_s3()
    with pytest.raises(ConfigError, match=r"BoundCodec\('s3'\) must be the last.*binary\(\)"):
        s3.codec | codecs.get_codec("binary")


def test_in_the_middle_outside_topics() -> None:
    """Faust tells only the first codec of a chain what follows; values come back all the same."""
    s3 = make_s3()
    chain = codecs.get_codec("json|s3|binary")
    assert chain.loads(chain.dumps("x" * THRESHOLD)) == "x" * THRESHOLD
    s3.blocking.close()


def test_clones_without_children() -> None:
    """Faust clones codecs from their keyword arguments, and nothing is lost."""
    s3 = make_s3()
    for codec in (s3.codec, s3.codec_for("photos"), NamedCodec(name="s3")):
        clone = codec.clone()
        assert isinstance(clone, S3Codec)
        assert clone.owner() is s3
        assert clone.topic == codec.topic


@pytest.mark.parametrize("serializer", [None, "json", "json|binary", "nonsense|s3x"])
def test_other_serializers_are_none_of_ours(serializer: str | None) -> None:
    """Only our codec opts in."""
    assert find_codec(serializer) is None


# -- names


def test_two_apps_with_a_codec_each() -> None:
    """Two apps may both have an "s3"; a topic takes its own app's."""
    stores = [CountingStore(), CountingStore()]
    apps = [make_app(), make_app()]
    objects = [make_s3(app, store) for app, store in zip(apps, stores, strict=True)]
    topics = [app.topic("photos", value_serializer="json|s3") for app in apps]
    assert [topic.opt_in.value for topic in topics] == objects


def test_an_ambiguous_name_outside_apps() -> None:
    """Where no app is at hand, two "s3" are one too many, and the error says what to use."""
    both = [make_s3(), make_s3()]
    with pytest.raises(ConfigError, match=r"'s3' belongs to 2 S3 objects.*use.*s3\.codec"):
        codecs.dumps("json|s3", "x" * THRESHOLD)
    assert len(both) == 2


def test_an_object_that_is_gone_owns_no_name() -> None:
    """The registry keeps nobody alive."""
    s3: S3 | None = make_s3()
    s3 = None
    gc.collect()
    assert s3 is None
    assert not owners


def test_an_app_that_is_gone_owns_no_name() -> None:
    """In a REPL an app is made again and again: the last one answers to the name."""
    make_s3(make_app())
    gc.collect()
    assert not owners


def test_a_refused_object_owns_no_name() -> None:
    """An ``S3`` that could not be made does not make the name ambiguous."""
    app = make_app()
    s3 = make_s3(app)
    with pytest.raises(ConfigError):
        make_s3(app)
    assert list(owners) == [s3]


def test_no_object_for_the_name() -> None:
    """The codec comes with the package; without ``S3(...)`` it says what is missing."""
    codec = codecs.get_codec("json|s3")
    with pytest.raises(ConfigError, match="'s3' is used, but no S3 object was made"):
        codec.dumps("x" * THRESHOLD)


def test_no_object_in_this_app() -> None:
    """An app with an ``S3`` of another name is told so."""
    app = make_app()
    make_s3(app, name="cold")
    make_s3()  # outside of the app
    with pytest.raises(ConfigError, match="'s3' is used, but this app has no such S3"):
        app.topic("photos", value_serializer="json|s3")


def test_a_name_that_is_taken() -> None:
    """Faust's own codecs keep their names."""
    with pytest.raises(ConfigError, match=r"'binary' is that of another codec.*name="):
        make_s3(name="binary")


@pytest.mark.parametrize("name", ["", "a|b", "a b", "1st"])
def test_a_name_that_is_none(name: str) -> None:
    """A name is a word, since it stands in chains."""
    with pytest.raises(ConfigError, match="must be a word"):
        make_s3(name=name)


# -- the registry


def test_entry_point() -> None:
    """Faust finds the codec by itself, and makes it without arguments."""
    (entry,) = importlib.metadata.entry_points(group="faust.codecs", name="s3")
    assert entry.load() is NamedCodec
    assert NamedCodec().name == "s3"


def test_loading_the_entry_points_again_loses_nothing() -> None:
    """Faust overwrites what has the name of an entry point; ours then works as before."""
    s3 = make_s3()
    codecs.codecs.update({"s3": NamedCodec()})
    data = codecs.dumps("json|s3", "x" * THRESHOLD)
    assert codecs.loads("json|s3", data) == "x" * THRESHOLD
    s3.blocking.close()


def test_repr_of_the_named_codec() -> None:
    """Faust prints chains in its errors."""
    assert repr(NamedCodec()) == "NamedCodec('s3')"


def test_repr_shows_no_secret() -> None:
    """A codec's repr is its name, though Faust's own prints every argument."""
    s3 = make_s3(profile="the-profile", endpoint_url="http://secret.example.org")
    chain = codecs.get_codec("json") | s3.codec_for("photos")
    for shown in (repr(chain), repr(s3.codec), str(s3.codec), repr(s3)):
        assert "secret" not in shown
        assert "profile" not in shown
