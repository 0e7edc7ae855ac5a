"""One agent reads handles, another one values; run as a program, it uploads what they read."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import faust
from app_settings import SETTINGS

from faust_s3 import S3, Payload

app = faust.App(**SETTINGS, broker_commit_interval=0.5)
s3 = S3(app, threshold=100_000)
records = s3.offload(app.topic(os.environ["RECORDS"], value_type=bytes, value_serializer="raw"))
copies = records.derive(suffix="-copies")
forwarded = records.derive(suffix="-forwarded")
seen = app.topic(os.environ["SEEN"], value_serializer="json")

SIZES = (0, 10, 100_001, 20_000_000)
CHUNK = 123_457


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@app.agent(records, sink=[copies])
@s3.rehydrate(lazy=True)
async def lazily(stream: faust.Stream[Payload[bytes] | None]) -> AsyncIterator[Any]:
    async for event in stream.events():
        payload = event.value
        if payload is None:
            await seen.send(value={"agent": "lazy", "key": event.key.decode(), "size": None})
            continue
        streamed, chunks = hashlib.sha256(), 0
        async for chunk in payload.stream():
            streamed.update(chunk)
            chunks += 1
        report = {
            "agent": "lazy",
            "key": payload.key.decode(),
            "kind": payload.headers.get("kind", b"").decode(),
            "size": payload.size,
            "stored": payload.claim is not None,
            "digest": payload.digest.hex(),
            "streamed": streamed.hexdigest(),
            "chunks": chunks,
            "loaded": digest(await payload.load()),
        }
        await seen.send(value=report)
        await event.forward(forwarded)
        yield payload


def by_size(payload: Payload[bytes] | None) -> bytes:
    return b"none" if payload is None else str(payload.size).encode()


if "ALONE" not in os.environ:

    @app.agent(records)
    @s3.rehydrate(lazy=True)
    async def grouped(stream: faust.Stream[Payload[bytes] | None]) -> None:
        async for key, payload in stream.group_by(by_size, name="size").items():
            report = {"agent": "grouped", "key": key.decode()}
            if payload is not None:
                assert payload.key == key
                report["digest"] = digest(await payload.load())
            await seen.send(value=report)

    @app.agent(records)
    async def eagerly(stream: faust.Stream[bytes | None]) -> None:
        async for key, value in stream.items():
            report = {"agent": "eager", "key": key.decode(), "size": None}
            if value is not None:
                report |= {"size": len(value), "digest": digest(value)}
            await seen.send(value=report)


async def chunks_of(path: Path) -> AsyncIterator[bytes]:
    data = await asyncio.to_thread(path.read_bytes)
    for at in range(0, len(data), CHUNK):
        yield data[at : at + CHUNK]


async def upload(directory: Path) -> None:
    for number, size in enumerate(SIZES):
        path = directory / f"{size}"
        path.write_bytes(os.urandom(size))
        for kind, source in (("file", path), ("iterator", chunks_of(path))):
            key = f"{kind}-{size}"
            payload = await s3.upload(source, topic=records, key=key, partition=0)
            await records.send(key=key, value=payload, partition=0, headers={"kind": kind.encode()})
        await records.send(key=f"none-{number}", value=None, partition=0)
    await app.producer.flush()
    await app.producer.stop()
    await s3.close()
    print("uploaded all")


if __name__ == "__main__":
    asyncio.run(upload(Path(sys.argv[1])))
