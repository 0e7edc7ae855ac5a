"""Reads records of every size and reports what it saw."""

from __future__ import annotations

import hashlib
import os

import faust
from app_settings import SETTINGS

from faust_s3 import S3

app = faust.App(**SETTINGS, broker_commit_interval=0.5)
s3 = S3(app, threshold=100_000)

records = s3.offload(app.topic(os.environ["RECORDS"], value_type=bytes, value_serializer="raw"))
seen = app.topic(os.environ["SEEN"], value_serializer="json")


@app.agent(records)
@s3.rehydrate(prefetch=16)
async def reporter(stream: faust.Stream[bytes]) -> None:
    async for event in stream.events():
        value = event.value
        await seen.send(
            key=event.key,
            value={
                "producer": event.headers["producer"].decode(),
                "key": event.key.decode(),
                "seq": int(event.headers["seq"]),
                "size": None if value is None else len(value),
                "sha256": None if value is None else hashlib.sha256(value).hexdigest(),
            },
        )


if __name__ == "__main__":
    app.main()
