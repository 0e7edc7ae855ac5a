"""Sends as many letters as it is told, to a topic that offloads; told so, it is a script."""

from __future__ import annotations

import asyncio
import os
import sys

import faust
from app_settings import SETTINGS

from faust_s3 import S3, StoreUnavailable

app = faust.App(**SETTINGS, broker_commit_interval=0.5)
s3 = S3(app, threshold=1000)
sizes = app.topic(os.environ["RECORDS"], value_serializer="json")
texts = app.topic(os.environ["SEEN"], value_serializer="json|s3")


@app.agent(sizes)
async def write(stream: faust.Stream[int]) -> None:
    async for size in stream:
        await texts.send(value="x" * size)


async def send(size: int) -> None:
    try:
        await texts.send(value="x" * size)
        print("sent")
    except StoreUnavailable as exc:
        print(f"not sent: {exc}")
    await app.producer.stop()
    await s3.close()


if __name__ == "__main__":
    asyncio.run(send(int(sys.argv[1])))
