"""Reads records and says what it saw, with this package or with another one in its place.

``CODEC`` is ``faust-s3`` or ``faust-large-message-serializer``.
"""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Any

import faust
from faust.serializers import codecs
from payloads import processed

THRESHOLD = 100_000

app = faust.App(
    os.environ["APP_ID"],
    broker=os.environ["KAFKA_BROKER"],
    broker_session_timeout=6,
    broker_heartbeat_interval=1,
    broker_commit_interval=0.5,
    consumer_auto_offset_reset="earliest",
    topic_disable_leader=True,
    web_enabled=False,
)


def serializer() -> Any:
    """Return JSON with large records elsewhere."""
    if os.environ["CODEC"] == "faust-s3":
        from faust_s3 import S3

        S3(app, threshold=THRESHOLD)
        return "json|s3"
    from faust_large_message_serializer import (
        LargeMessageSerializer,
        LargeMessageSerializerConfig,
    )

    config = LargeMessageSerializerConfig(
        base_path=os.environ["FAUST_S3_URL"],
        max_size=THRESHOLD,
        large_message_s3_access_key=os.environ["AWS_ACCESS_KEY_ID"],
        large_message_s3_secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        large_message_s3_region=os.environ["AWS_DEFAULT_REGION"],
        large_message_s3_endpoint=os.environ["FAUST_S3_ENDPOINT_URL"],
    )
    return codecs.get_codec("json") | LargeMessageSerializer(os.environ["RECORDS"], config)


records = app.topic(os.environ["RECORDS"], value_serializer=serializer())
results = app.topic(os.environ["RESULTS"], value_type=bytes, value_serializer="raw")


def encoded(payload: bytes) -> dict[str, str]:
    """Return what is sent for a payload: neither package's codec is asked for bytes."""
    return {"data": base64.b64encode(payload).decode()}


@app.agent(records)
async def read(stream: faust.Stream[dict[str, str]]) -> None:
    async for event in stream.events():
        message = event.message
        payload = base64.b64decode(event.value["data"])
        await results.send(
            key=event.key,
            value=hashlib.sha256(processed(payload)).hexdigest().encode(),
            headers={
                "number": event.headers["number"],
                "source": f"{message.partition}:{message.offset}".encode(),
            },
        )
