"""Reads streams that belong to no agent."""

from __future__ import annotations

import os
from typing import Any

import faust
from app_settings import SETTINGS
from mode import Service

from faust_s3 import S3

app = faust.App(**SETTINGS)
s3 = S3(app, threshold=1000)
numbers = app.topic(os.environ["RECORDS"], value_serializer="json|s3")
seen = app.topic(os.environ["SEEN"], value_serializer="json")


class Reader(Service):
    """Makes its stream before the worker subscribes."""

    async def on_start(self) -> None:
        self.add_future(self.read(app.stream(numbers)))

    async def read(self, stream: Any) -> None:
        async for value in stream:
            await seen.send(value={"size": len(value)})


app.add_dependency(Reader())


@app.task
async def send() -> None:
    for size in (10, 5000):
        await numbers.send(value="x" * size)


if __name__ == "__main__":
    app.main()
