"""Sends and receives flat out against a slow store, and counts late heartbeats."""

from __future__ import annotations

import asyncio
import os
from time import monotonic

import faust
from app_settings import SETTINGS

from faust_s3 import S3

COUNT = 200
INTERVAL = 0.010
#: Half of what one blocking call to the store would take.
LATE = 0.100

app = faust.App(**SETTINGS)
s3 = S3(app, threshold=10_000, prefetch=16)
records = s3.offload(app.topic(os.environ["RECORDS"], value_type=bytes, value_serializer="raw"))
seen = app.topic(os.environ["SEEN"], value_serializer="json")
received = 0
misses = 0
beats = 0


@app.agent(records)
async def read(stream: faust.Stream[bytes]) -> None:
    global received
    async for value in stream:
        assert len(value) == 100_000
        received += 1
        if received == COUNT:
            await seen.send(value={"received": received, "beats": beats, "misses": misses})


@app.task
async def heartbeat() -> None:
    global beats, misses
    due = monotonic() + INTERVAL
    while not app.should_stop:
        await asyncio.sleep(max(0, due - monotonic()))
        beats += 1
        misses += monotonic() - due > LATE
        due = monotonic() + INTERVAL


@app.task
async def send() -> None:
    value = os.urandom(99_999)
    for first in range(0, COUNT, 16):
        await asyncio.gather(
            *(records.send(value=value + bytes([number]))
              for number in range(first, min(first + 16, COUNT)))
        )  # fmt: skip


if __name__ == "__main__":
    app.main()
