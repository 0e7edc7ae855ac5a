"""What one record sets off: sinks, forwards, repartitions. Every end reports what it saw."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import faust
from app_settings import SETTINGS

from faust_s3 import S3

app = faust.App(
    **SETTINGS,
    broker_commit_interval=0.5,
    topic_partitions=2,
    stream_publish_on_commit=bool(os.environ.get("ON_COMMIT")),
)
#: Two uploads of one payload make two objects.
s3 = S3(app, threshold=1000, key_template="{topic}/{uuid}")
NAME = os.environ["RECORDS"]


class Photo(faust.Record):
    name: str
    pixels: str


def topic(name: str, **options: Any) -> Any:
    options = {"value_type": Photo, "value_serializer": "json|s3", **options}
    return app.topic(f"{NAME}-{name}", key_type=str, **options)


photos = topic("photos")
keyed = s3.offload(topic("keyed"), keys=True)
forwarded_keys = s3.offload(topic("forwarded_keys"), keys=True)
sent, forwarded = topic("sent"), topic("forwarded")
derived = photos.derive_topic(topics=[f"{NAME}-derived"])
sunk, sunk_in_agent = topic("sunk"), topic("sunk_in_agent")
by_name = topic("by_name")
seen = app.topic(os.environ["SEEN"], value_serializer="json")


async def report(end: str, event: Any) -> None:
    photo = event.value
    await seen.send(
        value={
            "end": end,
            "name": photo.name,
            "sha256": hashlib.sha256(photo.pixels.encode()).hexdigest(),
            "key": event.key,
            "headers": sorted(event.headers),
        }
    )


async def called(photo: Photo) -> None:
    await seen.send(
        value={"end": "callable", "name": photo.name, "size": len(photo.pixels)}, force=True
    )


@app.agent(sunk_in_agent)
async def sink(stream: Any) -> None:
    async for event in stream.events():
        await report("sunk_in_agent", event)


@app.agent(photos, sink=[sunk, sink, called])
async def source(stream: Any) -> Any:
    async for event in stream.events():
        await event.send(sent)
        await event.forward(forwarded)
        await event.forward(f"{NAME}-by_name")
        await event.forward(derived, key="another", headers={"more": b"1"})
        yield event.value


@app.agent(photos)
async def grouped(stream: Any) -> None:
    async for event in stream.group_by(Photo.name).events():
        await report("grouped", event)


@app.agent(photos)
async def passed_through(stream: Any) -> None:
    async for event in stream.through(f"{NAME}-middle").events():
        await report("passed_through", event)


@app.agent(keyed)
async def forward_keys(stream: Any) -> None:
    async for event in stream.events():
        await event.forward(forwarded_keys)
        await forwarded_keys.send(key=event.key, value=event.value, headers=event.headers)


for end in (sent, forwarded, by_name, derived, sunk, forwarded_keys):

    @app.agent(end, name=f"read_{end}")
    async def read(stream: Any, end: str = str(end).removeprefix(f"{NAME}-")) -> None:
        async for event in stream.events():
            await report(end, event)


@app.task
async def send() -> None:
    for name in ("ada", "ben", "cyd"):
        photo = Photo(name=name, pixels=name * (1 if name == "cyd" else 5000))
        await photos.send(key="key", value=photo, headers={"of": name.encode()})
        await keyed.send(key=name * 2000, value=photo, headers={"of": name.encode()})


if __name__ == "__main__":
    app.main()
