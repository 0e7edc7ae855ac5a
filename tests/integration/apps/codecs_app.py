"""One topic and one agent for each way of opting in; each echoes what it saw, by digest."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import faust
from app_settings import SETTINGS
from faust.serializers import codecs

from faust_s3 import S3

app = faust.App(**SETTINGS)
s3 = S3(app, threshold=1000)


class Note(faust.Record, serializer="json|s3"):
    text: str


class Plain(faust.Record, serializer="json"):
    text: str


def name(kind: str) -> str:
    return f"{os.environ['RECORDS']}-{kind}"


TOPICS = {
    "json": app.topic(name("json"), value_serializer="json|s3"),
    "yaml": app.topic(name("yaml"), value_serializer="yaml|s3"),
    "binary": app.topic(name("binary"), value_type=str, value_serializer="binary|s3"),
    "raw": app.topic(name("raw"), value_type=str, value_serializer="raw|s3"),
    "alone": app.topic(name("alone"), value_type=str, value_serializer="s3"),
    "pickle": app.topic(name("pickle"), value_serializer="pickle_restricted|s3"),
    "chained": app.topic(name("chained"), value_serializer=codecs.get_codec("json") | s3.codec),
    "model": app.topic(name("model"), value_type=Note),
    "own": app.topic(name("own"), value_type=Plain, value_serializer="json|s3"),
    "keys": s3.offload(
        app.topic(name("keys"), key_type=str, value_type=str, value_serializer="raw"), keys=True
    ),
}
seen = app.topic(os.environ["SEEN"], value_serializer="json")


def text_of(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, faust.Record):
        return str(value.text)  # type: ignore[attr-defined]
    return str(value["text"]) if isinstance(value, dict) else str(value)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


for kind, topic in TOPICS.items():

    @app.agent(topic, name=f"read_{kind}")
    @s3.rehydrate
    async def reader(stream: Any, kind: str = kind) -> None:
        async for event in stream.events():
            text = text_of(event.value)
            key = None if event.key is None else digest(str(event.key))
            report = {"kind": kind, "size": len(text), "sha256": digest(text), "key": key,
                      "headers": sorted(event.headers), "partition": event.message.partition,
                      "timestamp": event.message.timestamp}  # fmt: skip
            await seen.send(value=report)


def value_for(kind: str, text: str) -> Any:
    return {
        "json": {"text": text},
        "yaml": {"text": text},
        "pickle": {"text": text},
        "chained": {"text": text},
        "model": Note(text=text),
        "own": Plain(text=text),
    }.get(kind, text)


SIZES = (0, 1, 900, 5000, 200_000)


@app.task
async def send_all() -> None:
    for kind, topic in TOPICS.items():
        for size in SIZES:
            text = "é" * (size // 2) if kind != "pickle" else "x" * size
            await topic.send(
                key="k" * 2000 if kind == "keys" else None,
                value=value_for(kind, text),
                headers={"kind": kind.encode()},
                timestamp=float(os.environ["TIMESTAMP"]),
                partition=0 if kind == "json" else None,
            )
    print("sent all")


if __name__ == "__main__":
    app.main()
