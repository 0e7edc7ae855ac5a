"""All settings from the environment."""

from __future__ import annotations

import os

import faust
from app_settings import SETTINGS

from faust_s3 import S3

app = faust.App(**SETTINGS)
s3 = S3(app)
records = app.topic(os.environ["RECORDS"], value_serializer="json|s3")


@app.agent(records)
async def read(stream: faust.Stream[str]) -> None:
    async for text in stream:
        print(f"read {len(text)}")


@app.task
async def send() -> None:
    for size in (10, 2000):
        await records.send(value="x" * size)


if __name__ == "__main__":
    app.main()
