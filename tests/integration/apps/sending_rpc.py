"""Agents that answer, and who asks them: a task of the worker, or python sending_rpc.py."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import faust
from app_settings import SETTINGS

from faust_s3 import S3

NAME = os.environ["RECORDS"]
WHO = os.environ["WHO"]

app = faust.App(
    **SETTINGS,
    value_serializer=os.environ.get("DEFAULT") or "json",
    # Faust 0.15.3 gives each reply to two channels and reads one of them
    # (faust/agents/replies.py): waiting for the other one, who asked would never stop.
    stream_wait_empty=False,
    reply_create_topic=True,
    reply_to=f"{NAME}-replies-to-{WHO}",
)
s3 = S3(app, threshold=1000)


class Photo(faust.Record):
    name: str
    pixels: str = ""


echo_topic = app.topic(f"{NAME}-echo", value_serializer="json|s3")
photo_topic = app.topic(f"{NAME}-photo", value_type=Photo, value_serializer="json|s3")
blob_topic = s3.offload(app.topic(f"{NAME}-blob", value_type=bytes, value_serializer="raw"))
plain_topic = app.topic(f"{NAME}-plain", value_serializer="json")
seen = app.topic(os.environ["SEEN"], value_serializer="json")


@app.agent(echo_topic)
async def echo(stream: Any) -> Any:
    async for value in stream:
        yield value[::-1]


@app.agent(photo_topic)
async def develop(stream: Any) -> Any:
    async for photo in stream:
        yield Photo(photo.name, photo.pixels[::-1])


@app.agent(blob_topic, use_reply_headers=True)
async def measure(stream: Any) -> Any:
    async for blob in stream:
        yield [type(blob).__name__, len(blob)]


@app.agent(plain_topic)
async def plain(stream: Any) -> Any:
    async for value in stream:
        yield value[::-1]


def text(size: int, mark: str = "") -> str:
    return mark + "x" * size


async def values() -> Any:
    for mark in "abc":
        for size in (5, 5000):
            yield text(size, mark)


async def items() -> Any:
    async for value in values():
        yield value[0], value


async def ask(size: int) -> None:
    assert await echo.ask(text(size, "a")) == text(size, "a")[::-1]
    assert await plain.ask(text(size, "p")) == text(size, "p")[::-1]
    photo = await develop.ask(Photo("ada", text(size, "a")), key="k")
    assert photo == Photo("ada", text(size, "a")[::-1]), photo
    assert await measure.ask(text(size).encode()) == ["bytes", size]
    await echo.cast(text(size, "cast"))
    promise = await echo.ask_nowait(text(size, "n"), reply_to=app.conf.reply_to)
    await app._reply_consumer.add(promise.correlation_id, promise)
    assert await promise == text(size, "n")[::-1]


async def ask_in_order() -> None:
    in_order = [value[::-1] async for value in values()]
    assert await echo.join(values()) == in_order
    assert await echo.kvjoin(items()) == in_order


async def ask_for_any_order() -> None:
    wanted = sorted([value[::-1] async for value in values()])
    assert sorted([value async for value in echo.map(values(), key="k")]) == wanted
    assert sorted([value async for value in echo.kvmap(items())]) == wanted


async def check() -> None:
    await asyncio.gather(ask(5), ask(5000), ask_in_order(), ask_for_any_order())


async def report() -> None:
    try:
        await asyncio.wait_for(check(), 120)
    except BaseException as exc:
        await seen.send(value={"who": WHO, "problem": repr(exc)[:500]})
        raise
    await seen.send(value={"who": WHO, "problem": None})


@app.task
async def on_start() -> None:
    if WHO == "worker":
        await report()


async def main() -> None:
    await app.start_client()
    await report()
    await app.stop()


if __name__ == "__main__":
    asyncio.run(main())
