"""``S3``: the one object that a user makes. It puts the parts together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import faust
from faust.serializers import codecs
from faust.types import TopicT
from mode import Service

from faust_s3.agent import with_policy
from faust_s3.blocking import BlockingPipeline
from faust_s3.checks import check_threshold, check_topics, declared_topics
from faust_s3.codec import DEFAULT_NAME, BoundCodec, CodecOwner, NamedCodec, owners
from faust_s3.config import ENV_PREFIX, Config, load_config
from faust_s3.engines import open_store
from faust_s3.event import offloading_event
from faust_s3.exceptions import ConfigError
from faust_s3.hub import Hub, OptIn, Policy
from faust_s3.internals import extension_class, set_extension_class
from faust_s3.membership import stay_while
from faust_s3.payload import Payload
from faust_s3.pipeline import Pipeline
from faust_s3.policy import OnBadClaim
from faust_s3.rebalance import steady
from faust_s3.startup import check_store, ending, needs_of
from faust_s3.stores.base import Store
from faust_s3.tables import let_go, offloading_table, recover_ahead
from faust_s3.topic import OffloadingTopic, offloading_class
from faust_s3.upload import source_of

if TYPE_CHECKING:
    import boto3
    from typing_extensions import Unpack

    from faust_s3.config import Settings

__all__ = ["S3"]

F = TypeVar("F", bound=Callable[..., Any])


class S3(Service, CodecOwner):
    """Offloads large records of a Faust app to S3.

    Registers the codec ``name`` with Faust, makes the app's topics aware of claims, and
    starts and stops with the app. Topics offload once they name the codec, or are passed
    to :meth:`offload`.

    Args:
        app: The Faust app. Without one, only the codec is there; see :meth:`bind`.
        url: ``s3://bucket/prefix``. Default: ``FAUST_S3_URL``.
        name: Name of the codec, for more than one store.
        config: Settings made before, or the path of a YAML or JSON file of them.
        session: A ``boto3.Session`` for credentials and region. Default: boto3's own.
        store: Another store than S3.
        env_prefix: What environment variables with settings start with.
        **settings: Fields of :class:`~faust_s3.Config`.

    Raises:
        ConfigError: If a setting is wrong, or the name is taken.

    Example:
        >>> app = faust.App("photos", broker="kafka://localhost:9092")
        >>> s3 = S3(app, "s3://my-bucket/photos")
        >>> photos = app.topic("photos", value_type=Photo, value_serializer="json|s3")
    """

    def __init__(
        self,
        app: faust.App | None = None,
        url: str | None = None,
        *,
        name: str = DEFAULT_NAME,
        config: Config | str | Path | None = None,
        session: boto3.Session | None = None,
        store: Store | None = None,
        env_prefix: str = ENV_PREFIX,
        **settings: Unpack[Settings],
    ) -> None:
        if app is not None and not isinstance(app, faust.App):
            raise ConfigError(f"app {app!r} must be a faust.App; the URL comes after it")
        if isinstance(config, Config):
            if url is not None or settings:
                raise ConfigError("config is a Config already; url and settings must be in it")
        else:
            config = load_config(url, settings, file=config, env_prefix=env_prefix)
        self.name = name
        self.config = config
        self.app: faust.App | None = None
        self._hub: Hub
        self.store = store if store is not None else open_store(config, session)
        self.pipeline = Pipeline(config, self.store)
        self.blocking = BlockingPipeline(self.pipeline)
        _register(name)
        super().__init__()
        if app is not None:
            self.bind(app)
        owners.add(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name!r} {self.config.home}>"

    def bind(self, app: faust.App) -> None:
        """Make an app's topics aware of claims, and start and stop with it.

        Raises:
            ConfigError: If this object has an app, or the app another ``S3`` of this name.
        """
        if self.app is not None:
            raise ConfigError(f"{self!r} is bound to the app {self.app.conf.id!r} already")
        hub: Hub | None = next(
            (other._hub for other in app._children if isinstance(other, S3)), None
        )
        if hub is not None and self.name in hub.owners:
            raise ConfigError(
                f"the app has an S3 named {self.name!r} already; pass another name=..."
            )
        if hub is None:
            hub = Hub(app)
            _make_aware(app, hub)
        hub.owners[self.name] = self
        self.app = app
        self._hub = hub
        app.add_dependency(self)

    @property
    def codec(self) -> BoundCodec:
        """The codec of this store, to stand last in a chain."""
        return BoundCodec(owner=self)

    def codec_for(self, topic: str) -> BoundCodec:
        """Return the codec for use without Faust topics, where a codec cannot see the topic.

        Args:
            topic: Kafka topic, for object keys.
        """
        return BoundCodec(owner=self, topic=topic)

    def offload(self, topic: faust.types.TopicT, *, keys: bool = False, values: bool = True) -> Any:
        """Return a topic that offloads whatever its serializers are.

        For ``bytes`` values, keys, topics made before ``S3(app)``, and topics whose models
        carry serializers of their own. Use the returned topic in place of the other. For plain
        bytes also set ``value_serializer="raw"``, or Faust reads them as JSON.

        Args:
            topic: A topic of this app.
            keys: Offload large keys.
            values: Offload large values.

        Raises:
            ConfigError: If it is no topic of this app, or nothing of it is to be offloaded.
        """
        if not isinstance(topic, faust.Topic) or topic.app is not self.app:
            raise ConfigError(f"s3.offload takes a topic of the app of this S3, not {topic!r}")
        if not (keys or values):
            raise ConfigError(
                "s3.offload with values=False needs keys=True, or nothing is offloaded"
            )
        opt_in = OptIn(key=self if keys else None, value=self if values else None)
        cls = offloading_class(type(topic), self._hub)
        return cls(**{**topic._clone_args(), "root": None, "opt_in": opt_in})

    @overload
    def rehydrate(self, fun: F) -> F: ...

    @overload
    def rehydrate(
        self,
        *,
        prefetch: int | None = None,
        prefetch_bytes: int | str | None = None,
        on_bad_claim: OnBadClaim | None = None,
        lazy: bool = False,
    ) -> Callable[[F], F]: ...

    def rehydrate(
        self,
        fun: F | None = None,
        *,
        prefetch: int | None = None,
        prefetch_bytes: int | str | None = None,
        on_bad_claim: OnBadClaim | None = None,
        lazy: bool = False,
    ) -> Any:
        """Set how one agent reads; stands below ``@app.agent``.

        Args:
            fun: The agent function, when used without parentheses.
            prefetch: Downloads that may run ahead of this agent.
            prefetch_bytes: Their bytes, also as ``"64MiB"``.
            on_bad_claim: ``"raise"``, ``"skip"``, ``"dead_letter"``, or a function.
            lazy: Values are handles, of type :class:`~faust_s3.Payload`, that the agent
                loads by itself; nothing is downloaded before.

        Raises:
            ConfigError: If a value is wrong.
        """
        settings: dict[str, Any] = {
            "prefetch": prefetch,
            "prefetch_bytes": prefetch_bytes,
            "on_bad_claim": on_bad_claim,
        }
        chosen = {name: value for name, value in settings.items() if value is not None}

        def policy() -> Policy:
            config = replace(self.config, **chosen)
            return Policy(config.prefetch, config.prefetch_bytes, config.on_bad_claim, lazy)

        policy()  # what is wrong is told here, and not when the agent starts
        if fun is not None:
            return with_policy(fun, policy)
        return lambda fun: with_policy(fun, policy)

    async def upload(
        self,
        source: str | os.PathLike[str] | AsyncIterable[bytes],
        *,
        topic: TopicT,
        key: Any = None,
        partition: int | None = None,
    ) -> Payload[Any]:
        """Store a value without holding it in memory, and return what to send in its place.

        Small ones are not stored: they travel in the handle. In an agent a failed upload has
        the event delivered again, as a failed send has.

        Args:
            source: Path of a file, or what yields chunks of bytes: the value as the topic's
                serializers write it.
            topic: Topic of this app, with values that are offloaded, that it will be sent to.
            key: Key that it will be sent with, for object keys.
            partition: Partition that it will be sent to, for object keys.

        Raises:
            ConfigError: If the topic does not offload its values.
            PayloadTooLarge: If there are more than ``max_payload`` bytes.
            IntegrityError: If the file changes while it is read.
            StoreUnavailable: Outside agents, if a part is not stored for ``send_timeout``.
            PermanentError: If the store refuses.
            OSError: If the file cannot be read.

        Example:
            >>> video = await s3.upload("cat.mp4", topic=videos)
            >>> await videos.send(key="cat", value=video)
        """
        if not isinstance(topic, OffloadingTopic) or topic.app is not self.app:
            raise ConfigError(f"s3.upload takes a topic of the app of this S3, not {topic!r}")
        if topic.opt_in.value is None:
            raise ConfigError(
                f"s3.upload is for the topic {topic!s}, which does not offload its values: "
                "name the codec in its serializer, or use s3.offload(topic)"
            )
        return await topic.upload(source_of(source), self.pipeline, key=key, partition=partition)

    # -- life with the app

    async def on_start(self) -> None:
        """Refuse to start an app that would lose records, or a worker that may not work."""
        app = self.app
        if app is None:
            return
        with ending(app):
            self._hub.check_producer()
            check_threshold(app, self.config)
            check_topics(declared_topics(app))
            if app.in_worker and self.config.check_on_start:
                # The end of the worker ends the wait for a store that is away.
                await app.wait(check_store(self.store, self.config, needs_of(app, self)))
        recover_ahead(app, self._hub)

    @Service.task
    async def _stay_in_group(self) -> None:
        if self.app is not None:
            await stay_while(lambda: self.pipeline.busy, self.app, self)

    async def on_stop(self) -> None:
        """Abandon what is still under way, and give back threads and connections."""
        if self.app is not None:
            self._hub.cancel()
            self.app.flow_control.clear()
            if self._hub.changelogs is not None:
                self._hub.changelogs.clear()
        await self.close()

    async def close(self) -> None:
        """Give back threads and connections; a later use opens anew. For use without an app."""
        await asyncio.to_thread(self.blocking.close)  # it waits for a thread
        await self.store.close()


def _register(name: str) -> None:
    if not name.isidentifier():
        raise ConfigError(f"name {name!r} must be a word, as codecs are named")
    codecs.get_codec("raw")  # loads the entry points, which would overwrite ours
    known = codecs.codecs.get(name)
    if known is None:
        codecs.register(name, NamedCodec(name=name))
    elif not isinstance(known, NamedCodec):
        raise ConfigError(f"name {name!r} is that of another codec, {known!r}; pass name=...")


def _make_aware(app: faust.App, hub: Hub) -> None:
    # Faust keeps strong receivers for ever, and with them the app; the hub keeps these.
    hub.receivers = receivers = _Receivers(hub)
    app.on_configured.connect(receivers.on_configured, weak=True)
    app.on_partitions_assigned.connect(receivers.on_partitions_assigned, weak=True)
    app.on_partitions_revoked.connect(receivers.on_partitions_revoked, weak=True)
    app.on_before_shutdown.connect(receivers.on_before_shutdown, weak=True)
    if app.configured:
        receivers.on_configured(app, app.conf)


class _Receivers:
    """What an app's signals lead to."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def on_configured(self, _app: Any, /, *args: Any, signal: Any = None, **kwargs: Any) -> None:
        (conf,) = args
        set_extension_class(
            conf, "Topic", offloading_class(extension_class(conf, "Topic"), self._hub)
        )
        set_extension_class(
            conf, "Event", offloading_event(extension_class(conf, "Event"), self._hub)
        )
        for name in ("Table", "SetTable", "GlobalTable", "SetGlobalTable"):
            set_extension_class(conf, name, offloading_table(extension_class(conf, name)))

    async def on_partitions_assigned(
        self, _app: Any, /, *args: Any, signal: Any = None, **kwargs: Any
    ) -> None:
        (assigned,) = args
        hub = self._hub
        check_topics(list(hub.app.topics))
        hub.commits.guard(hub.app.consumer)
        hub.commits.regain(assigned)
        if hub.steady is not None:
            await hub.steady.stop_transactions(assigned)

    async def on_partitions_revoked(
        self, _app: Any, /, *args: Any, signal: Any = None, **kwargs: Any
    ) -> None:
        (revoked,) = args
        hub = self._hub
        if hub.steady is None and hub.default_owner.pipeline.config.mend_rebalances:
            hub.steady = steady(hub.app, hub.app.consumer)
        if hub.steady is not None:
            await hub.steady.let_go(revoked)
        await let_go(hub, revoked)

    async def on_before_shutdown(
        self, _app: Any, /, *args: Any, signal: Any = None, **kwargs: Any
    ) -> None:
        await self._hub.drain(self._hub.commits.patience())
