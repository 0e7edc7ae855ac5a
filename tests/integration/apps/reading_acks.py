"""Agents that commit while something is still to be done for what they read."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import faust
from app_settings import SETTINGS

from faust_s3 import S3

app = faust.App(**SETTINGS, broker_commit_interval=3600)  # commits are asked for below
s3 = S3(app, threshold=1000)
numbers = app.topic(os.environ["RECORDS"], value_serializer="json|s3")
copies = app.topic(os.environ["SEEN"], value_serializer="json|s3")
others = app.topic(f"{os.environ['SEEN']}-others", value_serializer="json")


def copy_of(number: int) -> dict[str, Any]:
    return {"key": f"{number}", "value": f"{number}" * 5000}


async def commit_and_wait() -> None:
    """Commit what Faust would commit now; it may have to wait for something."""
    await asyncio.wait({asyncio.ensure_future(app.consumer.commit())}, timeout=5)
    print("committed what can be")
    await asyncio.Event().wait()


async def batch_soon(stream: Any) -> None:
    async for batch in stream.take(2, within=60):
        if 2 in batch:  # 0 and 1 have been acknowledged
            await commit_and_wait()
        for number in batch:
            copies.send_soon(**copy_of(number))


async def batch(stream: Any) -> None:
    async for batch in stream.take(2, within=60):
        for number in batch:
            await copies.send(**copy_of(number))


async def actors(stream: Any) -> None:
    async for number in stream:
        if number == 0:
            await copies.send(**copy_of(number))
        elif number == 3:
            await commit_and_wait()
        else:
            await others.send(value=number)


async def skip_take(stream: Any) -> None:
    async for batch in stream.take(2, within=60):
        assert batch == [0, 2]
        await commit_and_wait()


async def skip_noack(stream: Any) -> None:
    async for event in stream.noack().events():
        if event.value == 2:
            await commit_and_wait()


async def through_plain(stream: Any) -> None:
    async for _ in stream.through(others):
        pass


@app.agent(numbers, concurrency=2 if os.environ["CASE"] == "actors" else 1)
@s3.rehydrate(on_bad_claim="skip")
async def agent(stream: Any) -> None:
    await globals()[os.environ["CASE"]](stream)


if __name__ == "__main__":
    app.main()
