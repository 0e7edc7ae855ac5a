"""An app that runs with and without ``S3(app)``, and sends nothing that is large."""

from __future__ import annotations

import os
from typing import Any

import faust
from app_settings import SETTINGS

app = faust.App(**SETTINGS, topic_partitions=3)
if os.environ.get("WITH_S3"):
    from faust_s3 import S3

    s3 = S3(app)
    CODEC = "|s3"

    def offload(topic: Any) -> Any:
        return s3.offload(topic, keys=True)
else:
    CODEC = ""

    def offload(topic: Any) -> Any:
        return topic


NAME = os.environ["RECORDS"]
TIMESTAMP = float(os.environ["TIMESTAMP"])
SIZES = (0, 1, 1000, 200_000)


class Note(faust.Record, serializer=f"json{CODEC}"):
    number: int
    name: str
    text: str = ""


notes = app.topic(f"{NAME}-notes", value_type=Note)
copies = app.topic(f"{NAME}-copies", value_type=Note)
words = app.topic(f"{NAME}-words", key_serializer=f"json{CODEC}", value_serializer=f"json{CODEC}")
groups = app.topic(f"{NAME}-groups", key_type=str)
blobs = offload(app.topic(f"{NAME}-blobs", key_type=bytes, value_type=bytes,
                          value_serializer="raw"))  # fmt: skip
middle = notes.derive_topic(topics=[f"{NAME}-middle"])


@app.agent(notes)
async def copy(stream: Any) -> None:
    async for event in stream.events():
        await event.forward(copies)
        await event.send(copies, key=event.value.name, timestamp=TIMESTAMP)
        await copies.send_soon(key=event.value.name, value=event.value, headers={"soon": b"yes"})


@app.agent(notes)
async def group(stream: Any) -> None:
    async for event in stream.group_by(Note.name).events():
        await groups.send(key=event.key, value=event.value.text, headers=event.headers)


@app.agent(notes)
async def pass_through(stream: Any) -> None:
    async for note in stream.through(middle):
        if note.number == 19:
            print("sent all")


@app.task
async def send() -> None:
    for number in range(20):
        more = {
            "key": b"key %d" % (number % 7),
            "partition": 0 if number % 5 == 0 else None,
            "timestamp": TIMESTAMP + number,
            "headers": [("number", b"%d" % number), ("twice", b"1"), ("twice", None)],
        }
        text = chr(ord("a") + number) * SIZES[number % 4]
        await blobs.send(value=text.encode(), **more)
        await app.send(f"{NAME}-words", value=text, value_serializer=f"yaml{CODEC}", **more)
        await words.send_soon(value=[text, number, None], eager_partitioning=number > 0, **more)
        note = Note(number=number, name=f"name {number % 5}", text=text)
        await (await notes.send(value=note, **{**more, "partition": 0}))
    await blobs.send(key=b"tombstone", value=None, value_serializer="raw")
    await blobs.send(key=b"empty", value=b"")


if __name__ == "__main__":
    app.main()
