"""Every way to send, from wherever it is called: an agent, a task, a program of its own.

Each message says in its header ``id`` who sent it and how; a report on it tells what the
sender was told.
"""

from __future__ import annotations

import asyncio
import os
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import faust
from app_settings import SETTINGS

from faust_s3 import S3

app = faust.App(
    **SETTINGS,
    reply_create_topic=bool(os.environ.get("REPLIES")),
    producer_threaded=bool(os.environ.get("THREADED")),
)
s3 = S3(app, threshold=1000)

OUT = os.environ["RECORDS"]
LARGE_KEY = "k" * 2000
TIMESTAMP = float(os.environ["TIMESTAMP"])
SIZES = (10, 5000)


class Note(faust.Record, serializer="json|s3"):
    text: str


#: One Kafka topic, seen in several ways.
notes = app.topic(OUT, value_serializer="json|s3")
plain = app.topic(OUT, value_serializer="json")
blobs = app.topic(OUT, value_type=bytes, value_serializer="raw")
keyed = s3.offload(app.topic(OUT, key_type=str), keys=True)
reports = app.topic(os.environ["SEEN"])
starts = app.topic(f"{OUT}-starts", value_type=str, value_serializer="raw")

Way = Callable[..., Awaitable[Any]]
WAYS: dict[str, Way] = {}
produced: dict[str, list[Any]] = {}
called: dict[str, list[Any]] = {}


def way(fun: Way) -> Way:
    WAYS[fun.__name__] = fun
    return fun


@way
async def topic_send(value: str, **more: Any) -> Any:
    return await notes.send(value=value, **more)


@way
async def topic_send_soon(value: str, **more: Any) -> Any:
    return notes.send_soon(value=value, **more)


@way
async def app_send(value: str, **more: Any) -> Any:
    return await app.send(notes, value=value, **more)


@way
async def by_name(value: str, **more: Any) -> Any:
    """Plain: nothing names the codec."""
    return await app.send(OUT, value=value, **more)


@way
async def by_name_and_codec(value: str, **more: Any) -> Any:
    return await app.send(OUT, value=value, value_serializer="json|s3", **more)


@way
async def by_name_and_model(value: str, **more: Any) -> Any:
    return await app.send(OUT, value=Note(value), **more)


@way
async def another_codec(value: str, **more: Any) -> Any:
    """The topic has opted in, whatever serializes this one value."""
    return await notes.send(value=value, value_serializer="yaml", **more)


@way
async def another_schema(value: str, **more: Any) -> Any:
    return await plain.send(value=value, schema=faust.Schema(value_serializer="json|s3"), **more)


@way
async def bytes_and_codec(value: str, **more: Any) -> Any:
    return await blobs.send(value=value.encode(), value_serializer="raw|s3", **more)


@way
async def bytes_and_schema(value: str, **more: Any) -> Any:
    schema = faust.Schema(value_type=bytes, value_serializer="s3")
    return blobs.send_soon(value=value.encode(), schema=schema, **more)


@way
async def large_key(value: str, **more: Any) -> Any:
    return await keyed.send(key=LARGE_KEY, value=value, **more)


@way
async def large_bytes_key_and_codec(value: str, **more: Any) -> Any:
    return await plain.send(key=LARGE_KEY.encode(), value=value, key_serializer="s3", **more)


@way
async def partition_and_timestamp(value: str, **more: Any) -> Any:
    return await notes.send(key="key", value=value, partition=2, timestamp=TIMESTAMP, **more)


@way
async def list_of_headers(value: str, headers: dict[str, bytes], **more: Any) -> Any:
    pairs = [*headers.items(), ("twice", b"1"), ("twice", b"2"), ("none", None)]
    return await notes.send(key="key", value=value, headers=pairs, **more)


@way
async def eager_partitioning(value: str, **more: Any) -> Any:
    return notes.send_soon(key="key", value=value, eager_partitioning=True, **more)


@way
async def eager_partitioning_of_a_large_key(value: str, **more: Any) -> Any:
    return keyed.send_soon(key=LARGE_KEY, value=value, eager_partitioning=True, **more)


@way
async def with_callback(value: str, headers: dict[str, bytes], **more: Any) -> Any:
    def callback(fut: Any) -> None:
        called.setdefault(headers["id"].decode(), []).append(list(fut.result().topic_partition))

    return await notes.send(value=value, callback=callback, headers=headers, **more)


@way
async def soon_with_callback(value: str, headers: dict[str, bytes], **more: Any) -> Any:
    def callback(fut: Any) -> None:
        called.setdefault(headers["id"].decode(), []).append(list(fut.result().topic_partition))

    return notes.send_soon(value=value, callback=callback, headers=headers, **more)


@way
async def through_the_producers_buffer(value: str, **more: Any) -> Any:
    fut = notes.as_future_message(value=value, **more)
    app.producer.send_soon(fut)
    return fut


@way
async def soon_and_flush(value: str, **more: Any) -> Any:
    fut = notes.send_soon(value=value, **more)
    await app.producer.flush()
    assert fut.done(), "flush() returned before the message was out"
    return fut


@app.on_produce_message.connect
def observe(_: Any, /, *, key: Any, value: Any, partition: Any, timestamp: Any, headers: Any,
            **kwargs: Any) -> None:  # fmt: skip
    if (id_ := dict(headers or ()).get("id")) is not None:
        produced.setdefault(id_.decode(), []).append(
            [text(key), text(value), partition, timestamp, len(headers)]
        )


def text(data: bytes | None) -> str | None:
    return None if data is None else b64encode(data).decode()


async def send_all(where: str) -> None:
    """Send small and large ones in every way, all at once, and report on them."""
    # eager_partitioning needs a producer that knows the topic, here as in Faust.
    await (await notes.send(value="first", headers={"id": f"{where}/first".encode()}))
    await asyncio.gather(*(send(where, name, size) for name in WAYS for size in SIZES))


async def send(where: str, name: str, size: int) -> None:
    id_ = f"{where}/{name}/{size}"
    problem, metadata = None, None
    try:
        fut = await WAYS[name]("x" * size, headers={"id": id_.encode()})
        metadata = await asyncio.wait_for(fut, 60)
    except Exception as exc:
        problem = repr(exc)
    await asyncio.sleep(0)  # a callback runs after what awaited the same future
    report = {"id": id_, "problem": problem, "metadata": None,
              "produced": produced.get(id_, []), "called": called.get(id_, [])}  # fmt: skip
    if metadata is not None:
        report["metadata"] = [*metadata.topic_partition, metadata.offset, metadata.timestamp]
    await reports.send(value=report)


@app.agent(starts)
async def start(stream: Any) -> None:
    async for where in stream:
        await send_all(where)


@app.task
async def on_start() -> None:
    if os.environ.get("TASK"):
        await send_all("task")


if __name__ == "__main__":
    app.main()
