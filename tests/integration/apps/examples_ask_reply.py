"""Ask and reply: agents that are asked by a command of the app, ``ask QUESTIONS ANSWERS``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faust
from examples_settings import NAME, SETTINGS, THRESHOLD
from faust.cli import argument

from faust_s3 import S3

app = faust.App(
    **SETTINGS,
    # Faust 0.15.3 gives each reply to two channels and reads one of them
    # (faust/agents/replies.py): waiting for the other one, who asked would never stop.
    stream_wait_empty=False,
    reply_create_topic=True,
    reply_to=f"{NAME}-replies",
)
s3 = S3(app, threshold=THRESHOLD)


class Document(faust.Record):
    title: str
    text: str


class Edition(faust.Record):
    title: str
    words: int
    text: str


documents = app.topic(f"{NAME}-documents", value_type=Document, value_serializer="json|s3")
titles = app.topic(f"{NAME}-titles", value_type=str, value_serializer="json|s3")
shelf: dict[str, Edition] = {}


@app.agent(documents)
async def publish(stream: Any) -> Any:
    async for document in stream:
        words = len(document.text.split())
        edition = Edition(document.title.title(), words, document.text.upper())
        shelf[document.title] = edition
        yield edition


@app.agent(titles)
async def look_up(stream: Any) -> Any:
    async for title in stream:
        yield shelf.get(title)


def read(path: str) -> list[Document]:
    return [Document(**fields) for fields in json.loads(Path(path).read_text())]


def write(path: str, found: Any) -> None:
    Path(path).write_text(json.dumps(found, default=Edition.asdict))


@app.command(argument("questions"), argument("answers"))
async def ask(self: Any, questions: str, answers: str) -> None:
    """Have documents published, one by one, at once and in order; then look them up."""
    given = read(questions)
    await app.start_client()
    found = {
        "ask": [await publish.ask(document) for document in given],
        "map": [edition async for edition in publish.map(given)],
        "join": await publish.join(given),
        "look_up": [await look_up.ask(document.title) for document in given],
        "missing": await look_up.ask("no such title"),
    }
    write(answers, found)
    await app.stop()


if __name__ == "__main__":
    app.main()
