"""Has a table, so that it needs to read and to write; settings are the environment's."""

from __future__ import annotations

import os

import faust
from app_settings import SETTINGS

from faust_s3 import S3

app = faust.App(**SETTINGS, store="memory://")
s3 = S3(app)
texts = app.Table("texts", value_serializer="json|s3")


@app.agent(app.topic(os.environ["RECORDS"]))
async def keep(stream: faust.Stream[str]) -> None:
    async for text in stream:
        texts["last"] = text


if __name__ == "__main__":
    app.main()
