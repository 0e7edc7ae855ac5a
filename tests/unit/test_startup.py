"""Whether the store lets a worker do its work, and what the worker says if not."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from worlds import URL, make_app, make_s3

from faust_s3 import (
    AccessDenied,
    BucketMissing,
    Config,
    ConfigError,
    ObjectMissing,
    RequestRefused,
    S3Error,
    StoreUnavailable,
)
from faust_s3.startup import Needs, check_store, ending, needs_of
from faust_s3.stores import Location, MemoryStore
from faust_s3.stores.answers import ForeignAnswer

CONFIG = Config(url=URL, retry_base=0.001, retry_cap=0.001)
THERE = Location(CONFIG.home.bucket, f"{CONFIG.home.prefix}/there")
NOTHING = Needs(reads=False, writes=False)
READS = Needs(reads=True, writes=False)
WRITES = Needs(reads=False, writes=True)
BOTH = Needs(reads=True, writes=True)
DENIED = AccessDenied("access is denied: 403")


class Guarded(MemoryStore):
    """Lets in as S3 does: who may not list is told 403 of an object that is not there."""

    def __init__(self, *allowed: str, full: bool = False) -> None:
        super().__init__()
        self.allowed = allowed
        self.asked: list[str] = []
        self.open = 0
        self.errors: list[S3Error] = []
        if full:
            self._objects[THERE] = b"", None  # type: ignore[assignment]

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.errors:
            raise self.errors.pop(0)
        if what not in self.allowed:
            raise DENIED

    async def get_range(self, location: Location, start: int, stop: int) -> bytes:
        self._ask("get")
        if location not in self._objects and "list" not in self.allowed:
            raise DENIED
        return await super().get_range(location, start, stop)

    async def open_upload(self, location: Location, *, size: int | None = None) -> Any:
        self._ask("put")
        upload = await super().open_upload(location)
        self.open += 1
        abort = upload.abort

        async def aborted() -> None:
            await abort()
            self.open -= 1

        upload.abort = aborted  # type: ignore[method-assign]
        return upload

    async def list(self, bucket: str, prefix: str = "") -> Any:
        self._ask("list")
        assert prefix == f"{CONFIG.home.prefix}/"
        for location in self._objects:
            yield await self.head(location)

    async def put(self, *args: Any, **kwargs: Any) -> None:
        raise AssertionError("the check stores nothing")

    async def delete(self, *args: Any) -> None:
        raise AssertionError("the check deletes nothing")


@pytest.mark.parametrize(
    ("allowed", "needs"),
    [
        ("get put list", BOTH),
        ("get list", READS),
        ("get list", NOTHING),
        ("put list", WRITES),
        ("put", WRITES),
        ("put", NOTHING),
        ("get put", BOTH),
    ],
)
@pytest.mark.parametrize("full", [False, True])
async def test_who_may_do_what_it_needs_starts(allowed: str, needs: Needs, full: bool) -> None:
    """Readers need no PutObject, producers no GetObject; nothing is left behind."""
    store = Guarded(*allowed.split(), full=full)
    before = dict(store._objects)
    await check_store(store, CONFIG, needs)
    assert store._objects == before
    assert store.open == 0


@pytest.mark.parametrize(
    ("allowed", "full", "needs", "sentence"),
    [
        ("", False, READS, "write (s3:PutObject), or read and list (s3:GetObject, s3:ListBucket)"),
        ("", True, NOTHING, "write (s3:PutObject), or read and list"),
        # Without listing, S3 does not say whether it is that or the object.
        ("get", True, READS, "write (s3:PutObject), or read and list"),
        ("get list", False, BOTH, "write, for this worker sends claims (s3:PutObject)"),
        ("get list", True, WRITES, "write, for this worker sends claims (s3:PutObject)"),
        ("put list", True, READS, "read, for this worker gets claims (s3:GetObject)"),
        ("list", True, NOTHING, "write (s3:PutObject), or read and list"),
    ],
)
async def test_who_may_not_does_not_start(
    allowed: str, full: bool, needs: Needs, sentence: str
) -> None:
    """One sentence: the setting, its value, the rule, and what the store said."""
    with pytest.raises(ConfigError) as caught:
        await check_store(Guarded(*allowed.split(), full=full), CONFIG, needs)
    assert str(caught.value) == (
        f"url {URL!r} must name a place where the credentials that boto3 finds may {sentence}"
        f"{'' if sentence.endswith(')') else ' (s3:GetObject, s3:ListBucket)'}"
        ": access is denied: 403"
    )


@pytest.mark.parametrize(
    ("allowed", "full", "needs", "level", "told"),
    [
        ("put", False, READS, logging.WARNING, "whether this worker may read there is not known"),
        ("put list", False, READS, logging.WARNING, "whether this worker may read there is not"),
        ("list", False, READS, logging.WARNING, "whether this worker may read there is not known"),
        ("put list", True, WRITES, logging.INFO, "this worker may not read there"),
        ("get list", True, READS, logging.INFO, "this worker may not write there"),
    ],
)
async def test_what_is_not_sure_or_not_needed_is_told(
    allowed: str,
    full: bool,
    needs: Needs,
    level: int,
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An agent may still send by itself; who reads the log then knows."""
    caplog.set_level(logging.INFO)
    await check_store(Guarded(*allowed.split(), full=full), CONFIG, needs)
    assert [record.levelno for record in caplog.records if told in record.message] == [level]


@pytest.mark.parametrize("error", [ObjectMissing("expired"), RequestRefused("archived")])
async def test_an_object_that_cannot_be_read_now_is_no_refusal(error: S3Error) -> None:
    """It may have gone since it was listed, or be archived."""
    store = Guarded("get", "put", "list", full=True)
    original = store._ask

    def ask(what: str) -> None:
        if store.asked.count("list") == 1 and what == "get":
            store.errors = [error]
        original(what)

    store.errors = [DENIED]
    store._ask = ask  # type: ignore[method-assign]
    await check_store(store, CONFIG, READS)
    assert store.asked == ["get", "list", "get", "put"]


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({}, BucketMissing("no bucket"), f"url {URL!r} must name a bucket that is there: "),
        (
            {"region": "eu-west-1"},
            ConfigError("the bucket is in region us-east-1"),
            f"region 'eu-west-1', url {URL!r} must fit the store: the bucket is in region",
        ),
        (
            {"sse": "aws:kms", "sse_kms_key_id": "k"},
            RequestRefused("no such key"),
            f"sse 'aws:kms', sse_kms_key_id 'k', url {URL!r} must fit the store: no such key",
        ),
        (
            {"endpoint_url": "http://printer"},
            BucketMissing("404"),
            f"url {URL!r} at endpoint_url 'http://printer' must name a bucket that is there: 404",
        ),
        (
            {"endpoint_url": "http://printer"},
            ForeignAnswer("a page"),
            f"url {URL!r} at endpoint_url 'http://printer' must name an S3 server: a page",
        ),
    ],
)
async def test_a_wrong_setting_is_named(
    settings: dict[str, Any], error: S3Error, sentence: str
) -> None:
    """Whatever may be to blame stands in the sentence."""
    store = Guarded("get", "put", "list")
    store.errors = [error]
    with pytest.raises(ConfigError) as caught:
        await check_store(store, Config(url=URL, **settings), NOTHING)
    assert str(caught.value).startswith(sentence)


async def test_an_endpoint_that_is_no_s3_server() -> None:
    """It has no object, which is no surprise, and no uploads, which is."""
    store = Guarded("get", "list")
    config = Config(url=URL, endpoint_url="http://printer")
    original = store._ask

    def ask(what: str) -> None:
        if what == "put":
            raise ObjectMissing("404 Not Found")
        original(what)

    store._ask = ask  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="endpoint_url 'http://printer' must name an S3 server"):
        await check_store(store, config, NOTHING)


async def test_a_store_that_is_away_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """One line says what the worker waits for, however often it asks."""
    caplog.set_level(logging.INFO)
    store = Guarded("get", "put", "list")
    store.errors = [StoreUnavailable("no answer")] * 5
    await check_store(store, CONFIG, BOTH)
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        f"{URL} is unavailable for 0 s now: no answer; the worker waits before it joins its group"
    ]
    assert any("answers again" in record.message for record in caplog.records)


async def test_without_a_prefix() -> None:
    """The whole bucket is ours, then."""
    store = MemoryStore()
    await check_store(store, Config(url="s3://bucket"), BOTH)
    with pytest.raises(ConfigError, match="must name a bucket that is there"):
        await check_store(MemoryStore(buckets=["other"]), Config(url="s3://bucket"), BOTH)


# -- what is known of the app


@pytest.fixture(autouse=True)
def no_autodiscovery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust looks for the agent's source on disk, which is for modules, not for a loop."""
    monkeypatch.setattr("faust.app.base.venusian.attach", lambda *args, **kwargs: None)


async def read(stream: Any) -> None: ...


def test_what_an_app_needs() -> None:
    """Agents and tables read; tables and sinks write; of another S3 object nothing is needed."""
    app = make_app()
    s3, other = make_s3(app), make_s3(app, name="other")
    assert needs_of(app, s3) == NOTHING
    app.agent(app.topic("plain"))(read)
    app.agent(app.channel())(read)
    assert needs_of(app, s3) == NOTHING
    app.agent(app.topic("photos", value_serializer="json|s3"))(read)
    assert (needs_of(app, s3), needs_of(app, other)) == (READS, NOTHING)
    sink = other.offload(app.topic("thumbnails"))
    app.agent(app.topic("in"), sink=[sink], name="sinking")(read)
    assert (needs_of(app, s3), needs_of(app, other)) == (READS, WRITES)


def test_what_a_table_needs() -> None:
    """It is recovered from claims, and its changes become claims."""
    app = make_app()
    s3 = make_s3(app)
    app.Table("albums", value_serializer="json|s3")
    assert needs_of(app, s3) == BOTH


# -- the worker


class Watched(MemoryStore):
    """Counts what it is asked."""

    asked = 0

    async def get_range(self, *args: Any) -> bytes:
        self.asked += 1
        return await super().get_range(*args)


@pytest.mark.parametrize(
    ("in_worker", "settings", "asked"),
    [(True, {}, 1), (True, {"check_on_start": False}, 0), (False, {}, 0)],
)
async def test_only_a_worker_asks(in_worker: bool, settings: dict[str, Any], asked: int) -> None:
    """An app that only sends, or runs in a test, asks nothing of the store when it starts."""
    app = make_app()
    app.in_worker = in_worker
    store = Watched()
    s3 = make_s3(app, store, **settings)
    try:
        await s3.start()
        assert store.asked == asked
    finally:
        await s3.stop()


async def test_a_worker_that_cannot_start_ends(caplog: pytest.LogCaptureFixture) -> None:
    """One line in the log, no traceback, and an exit code that is not 0."""
    app = make_app()
    app.in_worker = True
    with pytest.raises(SystemExit) as caught, ending(app):
        raise ConfigError("url 's3://b' must be right")
    assert caught.value.code == 1
    (record,) = caplog.records
    assert record.message == "the worker does not start: url 's3://b' must be right"
    assert record.exc_info is None
    assert caught.value.__suppress_context__


def test_elsewhere_the_error_is_raised() -> None:
    """Whoever starts an app by hand gets what is wrong."""
    with pytest.raises(ConfigError), ending(make_app()):
        raise ConfigError("url 's3://b' must be right")


async def test_the_end_of_the_worker_ends_the_wait() -> None:
    """A store that never answers does not keep a worker from stopping."""

    class Silent(MemoryStore):
        async def get_range(self, *args: Any) -> bytes:
            asking.set()
            await asyncio.Event().wait()
            raise AssertionError

    asking = asyncio.Event()
    app = make_app()
    app.in_worker = True
    s3 = make_s3(app, Silent())
    starting = asyncio.ensure_future(s3.start())
    await asking.wait()
    app._stopped.set()
    await starting
    await s3.stop()
