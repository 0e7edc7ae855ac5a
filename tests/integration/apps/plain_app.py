"""Asks for nothing: every topic is plain Faust. With MAKE_S3 there is an ``S3`` all the same."""

from __future__ import annotations

import hashlib
import os
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

import faust
from app_settings import SETTINGS

app = faust.App(**SETTINGS)
if "MAKE_S3" in os.environ:
    from faust_s3 import S3

    s3 = S3(app, threshold=1)


class Note(faust.Record):
    text: str


RECORDS = os.environ["RECORDS"]
notes = app.topic(f"{RECORDS}-notes", value_type=Note)
chunks = app.topic(f"{RECORDS}-chunks", value_type=bytes, value_serializer="raw")
copies = app.topic(f"{RECORDS}-copies", value_type=bytes, value_serializer="raw")
seen = app.topic(os.environ["SEEN"])
#: How a claim begins, and one that could be redeemed but for its bucket.
MAGIC = b"\xc1fS3"
CLAIM = MAGIC + b"\1\1\0\0\5\5" + hashlib.sha256(b"faust").digest() + b"\1b\1k"
CHUNKS = [b"", b"x", None, bytes(300_000), MAGIC, MAGIC + bytes(300_000), CLAIM]
TIMESTAMP = float(os.environ["TIMESTAMP"])


@app.agent(notes)
async def read_notes(stream: Any) -> None:
    async for note in stream:
        await seen.send(
            value=["note", len(note.text), hashlib.sha256(note.text.encode()).hexdigest()]
        )


@app.agent(chunks)
async def read_chunks(stream: Any) -> None:
    async for event in stream.events():
        value = event.value
        await seen.send(
            value=["chunk", type(value).__name__, value and hashlib.sha256(value).hexdigest()]
        )
        await event.forward(copies, timestamp=TIMESTAMP)


@app.task
async def send_all() -> None:
    installed = "s3" in {found.name for found in entry_points(group="faust.codecs")}
    print(f"faust_s3 is {'there' if find_spec('faust_s3') and installed else 'not there'}")
    for number, chunk in enumerate(CHUNKS):
        more = {"headers": {"number": b"%d" % number}, "timestamp": TIMESTAMP}
        await chunks.send(key=CLAIM, value=chunk, **more)
    for size in (0, 10, 300_000):
        fut = notes.send_soon(key=b"k" * size, value=Note(text="x" * size), timestamp=TIMESTAMP)
        await fut


if __name__ == "__main__":
    app.main()
