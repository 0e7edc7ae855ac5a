"""Sends two records for each, in transactions; with ``S3`` or as plain Faust."""

from __future__ import annotations

import asyncio
import os

import faust
from app_settings import SETTINGS

from faust_s3 import S3

PAUSE = float(os.environ.get("PAUSE", "0.01"))

app = faust.App(
    **SETTINGS,
    broker_commit_interval=0.5,
    processing_guarantee="exactly_once",
    stream_publish_on_commit="on commit" in os.environ["CASE"],
)
records = app.topic(os.environ["RECORDS"], value_type=bytes, value_serializer="raw")
results = app.topic(os.environ["SEEN"], value_type=bytes, value_serializer="raw")
if "plain" not in os.environ["CASE"]:
    s3 = S3(app, threshold=20_000)
    records, results = s3.offload(records), s3.offload(results)


@app.agent(records)
async def work(stream: faust.Stream[bytes]) -> None:
    async for event in stream.events():
        partition, number = event.message.partition, event.key
        await results.send(key=number + b" first", value=event.value[::-1], partition=partition)
        await asyncio.sleep(PAUSE)  # commits fall in here, as they do while agents work
        await results.send(key=number + b" second", value=event.value * 2, partition=partition)
        print(f"worked on {event.key.decode()} ", flush=True)


if "unread" not in os.environ["CASE"]:

    @app.agent(results)
    async def read(stream: faust.Stream[bytes]) -> None:
        async for _ in stream:
            pass


if __name__ == "__main__":
    app.main()
