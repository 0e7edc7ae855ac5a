"""Reads in every way that Faust has, each way from a topic of its own, and reports by digest."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

import faust
import faust.streams
from app_settings import SETTINGS
from faust.serializers import codecs
from reading_photos import COUNT, pixels

from faust_s3 import S3

PARTITIONS = 2

app = faust.App(**SETTINGS, topic_partitions=PARTITIONS)
s3 = S3(app, threshold=1000)


class Photo(faust.Record):
    number: int
    album: str
    pixels: str


class Registered(codecs.Codec):
    """What codecs of schema registries do: a zero byte and the schema's id before the bytes."""

    def _dumps(self, obj: Any) -> bytes:
        return struct.pack(">bI", 0, 42) + codecs.dumps("json", obj)

    def _loads(self, s: bytes) -> Any:
        if struct.unpack(">bI", s[:5]) != (0, 42):
            raise ValueError(f"no schema for {s[:5]!r}")
        return codecs.loads("json", s[5:])


codecs.register("registry", Registered())


class ByHeader(faust.Schema):
    """Reads each value by the codec that its headers name."""

    def dumps_value(self, app: Any, value: Any, *, serializer: Any = None, headers: Any) -> Any:
        return super().dumps_value(app, value, serializer="yaml", headers=headers)

    def on_dumps_value_prepare_headers(self, value: Any, headers: Any) -> Any:
        return {**headers, "codec": b"yaml"}

    def loads_value(self, app: Any, message: Any, **more: Any) -> Any:
        codec = dict(message.headers)["codec"].decode()
        return super().loads_value(app, message, **{**more, "serializer": codec})


# -- what is counted and reported

seen = app.topic(os.environ["SEEN"], value_serializer="json")
downloads: Counter[str] = Counter()
fetch = s3.store.fetch


async def counted(location: Any, **more: Any) -> Any:
    downloads[location.key] += 1
    return await fetch(location, **more)


s3.store.fetch = counted  # type: ignore[method-assign]


@app.on_before_shutdown.connect
async def tell(app: Any, **more: Any) -> None:
    print(f"downloads: {json.dumps(downloads)}")


async def report(way: str, value: Any, **more: Any) -> None:
    found = value if isinstance(value, dict) or value is None else value.asdict()
    digest = found and hashlib.sha256(found["pixels"].encode()).hexdigest()
    await seen.send(
        value={"way": way, "number": found and found["number"], "sha256": digest, **more}
    )


# -- one agent for each way


def name(way: str) -> str:
    return f"{os.environ['RECORDS']}-{way}"


def photos(way: str, **more: Any) -> Any:
    return app.topic(name(way), **{"value_type": Photo, "value_serializer": "json|s3", **more})


#: Where :func:`send_all` sends to.
sources: dict[str, list[Any]] = {}


def reads(
    way: str, topic: Any = None, source: list[Any] | None = None, **options: Any
) -> Callable[[Any], Any]:
    """Make an agent of a function, on a topic of its own."""
    topic = photos(way) if topic is None else topic
    sources[way] = [topic] if source is None else source
    return lambda fun: app.agent(topic, name=way, **options)(s3.rehydrate(fun))


@reads("values")
async def values(stream: Any) -> None:
    async for value in stream:
        await report("values", value)


@reads("events")
async def events(stream: Any) -> None:
    async for event in stream.events():
        await report("events", event.value)


@reads("items")
async def items(stream: Any) -> None:
    async for key, value in stream.items():
        await report("items", value, key=key.decode())


@reads("enumerate")
async def enumerated(stream: Any) -> None:
    async for index, value in stream.enumerate(start=1):
        await report("enumerate", value, index=index)


@reads("take")
async def take(stream: Any) -> None:
    async for batch in stream.take(4, within=0.5):
        for value in batch:
            await report("take", value)


@reads("take_events")
async def take_events(stream: Any) -> None:
    async for batch in stream.take_events(4, within=0.5):
        for event in batch:
            await report("take_events", event.value)


@reads("take_with_timestamp", photos("take_with_timestamp", value_type=None))
async def take_with_timestamp(stream: Any) -> None:
    async for batch in stream.take_with_timestamp(4, 0.5, "sent"):
        for value in batch:
            await report("take_with_timestamp", value, sent=value["sent"] > 0)


@reads("noack")
async def noack(stream: Any) -> None:
    async for event in stream.noack().events():
        await report("noack", event.value)
        event.ack()


@reads("noack_take")
async def noack_take(stream: Any) -> None:
    async for batch in stream.noack_take(4, within=0.5):
        for event in batch:
            await report("noack_take", event.value)
            event.ack()


@reads("filter")
async def filtered(stream: Any) -> None:
    async for value in stream.filter(lambda photo: len(photo.pixels) > 1000):
        await report("filter", value)


def add_an_a(photo: Photo) -> Photo:
    return photo.derive(pixels=photo.pixels + "a")


async def add_a_b(photo: Photo) -> Photo:
    return photo.derive(pixels=photo.pixels + "b")


@reads("processors")
async def processed(stream: Any) -> None:
    stream.add_processor(add_an_a)
    stream.add_processor(add_a_b)
    async for value in stream:
        await report("processors", value)


@reads("group_by")
async def grouped(stream: Any) -> None:
    async for event in stream.group_by(Photo.album).events():
        await report("group_by", event.value, key=event.message.key.decode())


@reads("group_by_callable")
async def grouped_by_callable(stream: Any) -> None:
    async def last_pixel(photo: Photo) -> str:
        return photo.pixels[-1]

    async for event in stream.group_by(last_pixel, name="pixel").events():
        await report("group_by_callable", event.value, key=event.message.key.decode())


@reads("group_by_topic")
async def grouped_to_topic(stream: Any) -> None:
    topic = photos("grouped", key_type=str, internal=True)
    async for key, value in stream.group_by(Photo.album, topic=topic).items():
        await report("group_by_topic", value, key=key)


@reads("through")
async def through(stream: Any) -> None:
    async for value in stream.through(name("passed-by-name")):
        await report("through", value)


@reads("through_topic")
async def through_topic(stream: Any) -> None:
    async for value in stream.through(photos("passed")):
        await report("through_topic", value)


@reads("through_take")
async def through_take(stream: Any) -> None:
    async for batch in stream.through(name("passed-and-taken")).take(4, within=0.5):
        for value in batch:
            await report("through_take", value)


@reads("through_channel")
async def through_channel(stream: Any) -> None:
    async for value in stream.through(app.channel()):
        await report("through_channel", codecs.loads("json", value))


@reads("echo")
async def echo(stream: Any) -> None:
    async for value in stream.echo(photos("echoed")):
        await report("echo", value)


@reads("echoed", source=[])
async def echoed(stream: Any) -> None:
    async for value in stream:
        await report("echoed", value)


@reads("combine")
async def combined(stream: Any) -> None:
    async for value in stream & photos("other").stream():
        await report("combine", value)


@reads("concurrency", concurrency=3)
async def concurrent(stream: Any) -> None:
    async for value in stream:
        await report("concurrency", value)


@reads("isolated", isolated_partitions=True)
async def isolated(stream: Any) -> None:
    async for event in stream.events():
        (own,) = stream.active_partitions
        await report("isolated", event.value, partition=event.message.partition, own=own.partition)


@reads("same_1", photos("same"))
async def same_1(stream: Any) -> None:
    async for value in stream:
        await report("same_1", value)


@reads("same_2", photos("same"), source=[])
async def same_2(stream: Any) -> None:
    async for value in stream:
        await report("same_2", value)


@reads("typed", photos("types"))
async def typed(stream: Any) -> None:
    async for value in stream:
        await report("typed", value, type=type(value).__name__)


@reads("untyped", photos("types", value_type=bytes, value_serializer="raw|s3"), source=[])
async def untyped(stream: Any) -> None:
    async for value in stream:
        await report("untyped", codecs.loads("json", value), type=type(value).__name__)


@reads("names", app.topic(name("one"), name("two"), value_type=Photo, value_serializer="json|s3"),
       source=[photos("one"), photos("two")])  # fmt: skip
async def names(stream: Any) -> None:
    async for event in stream.events():
        await report("names", event.value, topic=event.message.topic.rpartition("-")[2])


@reads("no_model", app.topic(name("no_model"), value_serializer="json|s3"))
async def no_model(stream: Any) -> None:
    """Reads without a model."""
    async for value in stream:
        await report("no_model", value)


@reads("allow_empty", photos("allow_empty", allow_empty=True))
async def allow_empty(stream: Any) -> None:
    async for value in stream:
        await report("allow_empty", value)


@reads("schema", app.topic(name("schema"),
       schema=faust.Schema(value_type=Photo, value_serializer="json|s3")))  # fmt: skip
async def schema(stream: Any) -> None:
    async for value in stream:
        await report("schema", value)


@reads("by_header", s3.offload(app.topic(name("by_header"), schema=ByHeader(value_type=Photo))))
async def by_header(stream: Any) -> None:
    async for value in stream:
        await report("by_header", value)


@reads("registry", photos("registry", value_serializer="registry|s3"))
async def registry(stream: Any) -> None:
    async for value in stream:
        await report("registry", value)


@reads("keys", s3.offload(photos("keys", key_type=str), keys=True))
async def keys(stream: Any) -> None:
    async for key, value in stream.items():
        await report("keys", value, key=hashlib.sha256(key.encode()).hexdigest())


# -- what they read


@app.task
async def send_all() -> None:
    print(f"loops: {'compiled' if faust.streams._CStreamIterator else 'pure'}")
    for way, topics in sources.items():
        for topic in topics:
            for number in range(COUNT):
                photo: Any = Photo(number, f"album-{number % 3}", pixels(number))
                more: dict[str, Any] = {}
                if way in ("take_with_timestamp", "no_model"):
                    photo = photo.asdict()
                if way == "allow_empty" and number == 3:
                    photo, more = None, {"value_serializer": "raw"}
                await topic.send(
                    key=f"{number}" * (2000 if way == "keys" else 1),
                    value=photo,
                    partition=number % PARTITIONS if way == "isolated" else 0,
                    **more,
                )
    print("sent all")


if __name__ == "__main__":
    app.main()
