"""Looks at photographs of any size and reports what it saw."""

from __future__ import annotations

import hashlib
import os

import faust

from faust_s3 import S3


class Report(faust.Record):
    """What the agent saw of one photograph."""

    name: str
    size: int
    sha256: str


app = faust.App("quickstart", broker=os.environ["KAFKA_BROKER"])
s3 = S3(app)  # FAUST_S3_URL says where to, as in s3://my-bucket/prefix

photos = s3.offload(app.topic("photos", key_type=str, value_type=bytes, value_serializer="raw"))
seen = app.topic("seen", key_type=str, value_type=Report)


@app.agent(photos)
@s3.rehydrate
async def look(stream: faust.types.StreamT[bytes]) -> None:
    async for name, photo in stream.items():
        report = Report(name=name, size=len(photo), sha256=hashlib.sha256(photo).hexdigest())
        await seen.send(key=name, value=report)


if __name__ == "__main__":
    app.main()
