"""Two stores: records go to the one that ``WRITES`` names, and are read from both."""

from __future__ import annotations

import os

import faust
from app_settings import SETTINGS

from faust_s3 import S3

app = faust.App(**SETTINGS, broker_commit_interval=0.5)
stores = {
    name: S3(app, os.environ[f"{name.upper()}_URL"], name=name, threshold=1000)
    for name in os.environ["STORES"].split()
}

records = app.topic(os.environ["RECORDS"], value_serializer=f"json|{os.environ['WRITES']}")
seen = app.topic(os.environ["SEEN"], value_serializer="json")


@app.agent(records)
async def report(stream: faust.Stream[dict[str, str]]) -> None:
    async for record in stream:
        await seen.send(value={"from": record["from"], "size": len(record["text"])})


@app.task
async def send() -> None:
    for size in (10, 5000):
        await records.send(value={"from": os.environ["WRITES"], "text": "x" * size})
        # A single send may choose as well.
        for name in stores:
            await records.send(
                value={"from": f"to {name}", "text": "y" * size}, value_serializer=f"json|{name}"
            )


if __name__ == "__main__":
    app.main()
