"""Two agents read what a task sends compressed: one gets values, the other one handles."""

from __future__ import annotations

import hashlib
import os

import faust
from app_settings import SETTINGS
from compressed import PAYLOADS, digest

from faust_s3 import S3, Payload

app = faust.App(**SETTINGS)
s3 = S3(app, threshold=20_000)
records = s3.offload(app.topic(os.environ["RECORDS"], value_type=bytes, value_serializer="raw"))


@app.agent(records)
async def eager(stream: faust.Stream[bytes]) -> None:
    async for event in stream.events():
        print(f"eager {event.key.decode()} {digest(event.value)}")


@app.agent(records)
@s3.rehydrate(lazy=True)
async def lazy(stream: faust.Stream[Payload[bytes]]) -> None:
    async for payload in stream:
        streamed = hashlib.sha256()
        async for chunk in payload.stream():
            streamed.update(chunk)
        assert digest(await payload.load()) == payload.digest.hex() == streamed.hexdigest()
        print(f"lazy {payload.key.decode()} {payload.digest.hex()}")


@app.task
async def send() -> None:
    if os.environ.get("SENDS") == "yes":
        for key, payload in PAYLOADS.items():
            await records.send(key=key, value=payload)


if __name__ == "__main__":
    app.main()
