"""Sends something for each record, large if not told otherwise, and says when it has been sent."""

from __future__ import annotations

import os

import faust
from app_settings import SETTINGS

from faust_s3 import S3

#: Of even numbers, and of odd ones.
SIZES = [int(size) for size in os.environ.get("SIZES", "5000 5000").split()]

app = faust.App(
    **SETTINGS,
    broker_commit_interval=0.5,
    stream_publish_on_commit=bool(os.environ.get("ON_COMMIT")),
)
s3 = S3(app, threshold=1000)
numbers = app.topic(os.environ["RECORDS"], value_type=int, value_serializer="raw")
texts = app.topic(os.environ["SEEN"], value_serializer="json|s3")


@app.agent(numbers)
async def write(stream: faust.Stream[int]) -> None:
    async for number in stream:
        await texts.send(key=str(number), value=[int(number), "x" * SIZES[number % 2]])
        print(f"sent {int(number)}.", flush=True)


if __name__ == "__main__":
    app.main()
