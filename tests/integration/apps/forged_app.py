"""Says which records it read, and how large they were."""

from __future__ import annotations

import os

import faust
from app_settings import SETTINGS

from faust_s3 import S3

app = faust.App(**SETTINGS, broker_commit_interval=0.5)
s3 = S3(app)
records = s3.offload(app.topic(os.environ["RECORDS"], value_type=bytes, value_serializer="raw"))


@app.agent(records)
async def report(stream: faust.Stream[bytes]) -> None:
    async for event in stream.events():
        print(f"read {event.message.offset} of {len(event.value)} bytes", flush=True)


if __name__ == "__main__":
    app.main()
