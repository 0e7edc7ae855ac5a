"""Keeps photographs of any size, and makes thumbnails of them."""

from __future__ import annotations

import os

import faust

from faust_s3 import S3


class Photo(faust.Record):
    """A photograph."""

    name: str
    pixels: str


app = faust.App("gallery", broker=os.environ.get("KAFKA_BROKER", "kafka://localhost:9092"))
s3 = S3(app, os.environ.get("FAUST_S3_URL", "s3://gallery"))

photos = app.topic("photos", key_type=str, value_type=Photo, value_serializer="json|s3")
thumbnails = app.topic("thumbnails", key_type=str, value_type=str)
originals = app.Table("originals", value_type=Photo, value_serializer="json|s3")


@app.agent(photos)
async def shrink(stream: faust.types.StreamT[Photo]) -> None:
    async for name, photo in stream.items():
        originals[name] = photo
        await thumbnails.send(key=name, value=photo.pixels[:8])


if __name__ == "__main__":
    app.main()
