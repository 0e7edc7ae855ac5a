"""Reads a topic and writes each value to another, soon or at once."""

from __future__ import annotations

import os

import faust
from app_settings import SETTINGS

from faust_s3 import S3

app = faust.App(**SETTINGS, broker_commit_interval=0.5)
s3 = S3(app, threshold=100_000)
records = s3.offload(app.topic(os.environ["RECORDS"], value_type=bytes, value_serializer="raw"))
copies = records.derive(suffix="-copies")


@app.agent(records)
async def copy(stream: faust.Stream[bytes]) -> None:
    number = 0
    async for key, value in stream.items():
        number += 1
        if number % 2:
            copies.send_soon(key=key, value=value)
        else:
            await copies.send(key=key, value=value)


if __name__ == "__main__":
    app.main()
