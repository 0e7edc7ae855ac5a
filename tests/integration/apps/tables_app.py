"""Tables of every kind; told by a topic what to change, and when to report what they hold."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from typing import Any

import faust
from app_settings import SETTINGS
from tables_commands import text_of

from faust_s3 import S3

app = faust.App(
    **SETTINGS,
    store=os.environ["STORE"],
    broker_commit_interval=0.5,
    # Tansu says that a topic ends where its last batch begins; recovery would stop there.
    producer_max_batch_size=1,
    table_standby_replicas=int(os.environ.get("STANDBYS", "0")),
    topic_partitions=int(os.environ.get("PARTITIONS", "1")),
)
s3 = S3(app, threshold=1000)
archive = S3(app, f"{os.environ['FAUST_S3_URL']}/archive", name="archive", threshold=1000)

commands = app.topic(os.environ["RECORDS"], key_type=str, value_serializer="json")
seen = app.topic(os.environ["SEEN"], value_serializer="json")


class Document(faust.Record, serializer="json|s3"):
    text: str


async def tell(event: faust.Event) -> None:
    print(f"recovered {event.key} {event.message.partition} {event.message.offset}")


models = app.Table("models", value_type=Document)
strings = app.Table("strings", value_serializer="json|s3", on_changelog_event=tell)
raw = app.Table("raw", value_type=bytes, value_serializer="raw|s3")
archived = app.Table("archived", value_serializer="json|archive")
plain = app.Table("plain")
shared = app.GlobalTable("shared", value_serializer="json|s3")
tumbling = (
    app.Table("tumbling", value_serializer="json|s3").tumbling(100.0, key_index=True)
).relative_to_stream()
hopping = app.Table("hopping", value_serializer="json|s3").hopping(100.0, 50.0, expires=1e9)
hopping = hopping.relative_to(lambda event: event.message.timestamp)
sets = app.SetTable("sets", value_serializer="json|s3")
shared_sets = app.SetGlobalTable("shared_sets", value_serializer="json|s3")


def change(table: str, key: str, what: str, text: str) -> None:
    if table == "models":
        models[key] = Document(text=text)
    elif table == "raw":
        raw[key] = bytes.fromhex(os.environ["MAGIC"]) + text.encode()
    elif table in ("sets", "shared_sets"):
        chosen = {"sets": sets, "shared_sets": shared_sets}[table][key]
        {"set": chosen.add, "discard": chosen.discard}[what](text)
    else:
        globals()[table][key] = text


def digest(value: Any) -> Any:
    if isinstance(value, Document):
        value = value.text
    if isinstance(value, set):
        return sorted(digest(member) for member in value)
    data = value if isinstance(value, bytes) else value.encode()
    return hashlib.sha256(data).hexdigest()


def contents(pairs: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    return {json.dumps(key): digest(value) for key, value in pairs}


def report() -> dict[str, Any]:
    tables = {
        "models": models, "strings": strings, "raw": raw, "archived": archived, "plain": plain,
        "shared": shared, "tumbling": tumbling.table, "hopping": hopping.table,
    }  # fmt: skip
    found = {name: contents(table.items()) for name, table in tables.items()}
    for name, table in {"sets": sets, "shared_sets": shared_sets}.items():
        members = ((key, changelogged.data) for key, changelogged in table.data.data.items())
        found[name] = contents(pair for pair in members if pair[1])
    found["index"] = sorted(tumbling.keys())
    found["current"] = contents(tumbling.items().current())
    return found


def standbys() -> list[int]:
    topic = strings.changelog_topic.get_topic_name()
    return [tp.partition for tp in app.assignor.assigned_standbys() if tp.topic == topic]


@app.agent(commands)
async def obey(stream: Any) -> None:
    async for key, command in stream.items():
        what, table = command["what"], command.get("table")
        if what == "report":
            told = {"id": command["id"], "worker": app.conf.datadir.name, "standbys": standbys()}
            await seen.send(value={**told, "tables": report()})
        elif what == "delete":
            del globals()[table][key]
        else:
            change(table, key, what, text_of(command["seed"], command["size"]))


if __name__ == "__main__":
    app.main()
