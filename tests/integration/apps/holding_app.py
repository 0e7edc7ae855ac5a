"""One agent reads what the store has; the other one, if it is wanted, needs no store."""

from __future__ import annotations

import os

import faust
from app_settings import SETTINGS

from faust_s3 import S3

app = faust.App(
    **(SETTINGS | {"broker_session_timeout": 6}),
    broker_max_poll_interval=10,
    broker_commit_interval=0.5,
    stream_buffer_maxsize=20,
)
s3 = S3(app, threshold=1000, cache_bytes=0)
records = app.topic(os.environ["RECORDS"], value_serializer="json|s3")
seen = app.topic(os.environ["SEEN"], value_serializer="json")
pings = app.topic(os.environ["PINGS"], value_serializer="json")
pongs = app.topic(os.environ["PONGS"], value_serializer="json")


@app.agent(records)
async def read(stream: faust.Stream[list[object]]) -> None:
    async for number, text in stream:
        await seen.send(value=[number, len(text)])


async def answer(stream: faust.Stream[int]) -> None:
    async for number in stream:
        await pongs.send(value=number)


if os.environ["OTHERS"] == "yes":
    app.agent(pings)(answer)

if __name__ == "__main__":
    app.main()
