"""Word count: how often each word was posted, and in which post it got most votes."""

from __future__ import annotations

from typing import Any

import faust
from examples_settings import NAME, SETTINGS, THRESHOLD

from faust_s3 import S3

app = faust.App(**SETTINGS)
s3 = S3(app, threshold=THRESHOLD)


class Post(faust.Record, serializer="json|s3"):
    text: str
    votes: int


class Row(faust.Record, serializer="json|s3"):
    word: str
    count: int
    best: Post


posts = app.topic(f"{NAME}-posts", value_type=Post)
words = app.topic(f"{NAME}-words", key_type=str, value_type=Post)
rows = app.topic(f"{NAME}-rows", value_type=Row)
counts = app.Table("counts", default=int)
best = app.Table("best", value_type=Post)


@app.agent(posts)
async def split(stream: Any) -> None:
    async for post in stream:
        for word in post.text.split():
            await words.send(key=word, value=post)


@app.agent(words)
async def count(stream: Any) -> None:
    async for word, post in stream.items():
        counts[word] += 1
        if word not in best or post.votes > best[word].votes:
            best[word] = post
        await rows.send(key=word, value=Row(word, counts[word], best[word]))


if __name__ == "__main__":
    app.main()
