"""Faust's own examples, written afresh: the same results with small records and with large ones."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord
from faust import HoppingWindow, TumblingWindow
from faust.serializers import codecs
from workers import Process, Worker, read_until

from faust_s3 import S3
from faust_s3.claim import Claim, parse

#: Blanks that are added to each text. The apps' threshold is 100 kB.
PADDING = {"small": 0, "large": 300_000}
PARTITIONS = 2
#: A full minute, not so long ago that windows have expired or retention would take records away.
NOW = float(int(time.time()) // 60 * 60 - 600)

#: Key, value and, if it matters, timestamp.
Sent = tuple[str, Any] | tuple[str, Any, float]


class Run:
    """An app at work on records of one size.

    Args:
        prefix: What its topics begin with.
        environ: Of the app.
        bootstrap: The broker.
        worker: The app.
        s3: For records that are written and read without the app.
        padding: Blanks in each text.
    """

    def __init__(
        self,
        prefix: str,
        environ: dict[str, str],
        bootstrap: str,
        worker: Worker,
        s3: S3,
        padding: int,
    ) -> None:
        self.prefix = prefix
        self.environ = environ
        self.worker = worker
        self._bootstrap = bootstrap
        self._s3 = s3
        self._padding = padding

    def padded(self, text: str) -> str:
        """Return a text with blanks between its first two words."""
        return text.replace(" ", " " * (1 + self._padding), 1)

    def send(self, topic: str, *records: Sent) -> None:
        """Send records as any other Kafka client would, with padded texts."""
        name = full_name(self.prefix, topic)
        codec = codecs.get_codec("json") | self._s3.codec_for(name)
        messages = [
            {
                "key": key.encode(),
                "value": None if value is None else codec.dumps(map_texts(self.padded, value)),
                "timestamp_ms": int(at[0] * 1000) if at else None,
            }
            for key, value, *at in records
        ]

        async def send() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap)
            await producer.start()
            try:
                for message in messages:
                    await producer.send_and_wait(name, **message)
            finally:
                await producer.stop()

        asyncio.run(send())

    def records(self, topic: str, count: int) -> list[ConsumerRecord]:
        """Return the records of a topic once there are so many."""
        name = full_name(self.prefix, topic)
        return read_until(self._bootstrap, name, lambda records: len(records) >= count)

    def check(self, topic: str, count: int) -> list[ConsumerRecord]:
        """Return the same; the values are claims if the records of this run are large."""
        records = self.records(topic, count)
        values = [record.value for record in records if record.value is not None]
        assert {isinstance(parse(value), Claim) for value in values} == {self._padding > 0}, topic
        assert max(map(len, values)) <= (128 if self._padding else 2000), topic
        return records

    def values(self, topic: str, count: int) -> list[Any]:
        """Return the values of such records as they were before they were padded."""
        codec = codecs.get_codec("json") | self._s3.codec
        return [plain(codec.loads(record.value)) for record in self.check(topic, count)]


def full_name(prefix: str, topic: str) -> str:
    return topic.format(prefix) if "{}" in topic else f"{prefix}-{topic}"


def map_texts(fun: Callable[[str], str], value: Any) -> Any:
    """Apply a function to all texts in a value that can be written as JSON."""
    if isinstance(value, dict):
        return {name: map_texts(fun, field) for name, field in value.items()}
    if isinstance(value, list):
        return [map_texts(fun, member) for member in value]
    return fun(value) if isinstance(value, str) else value


def plain(value: Any) -> Any:
    """Return a value without superfluous blanks, and without the names that Faust adds."""

    def without_names(fields: dict[str, Any]) -> dict[str, Any]:
        return {name: field for name, field in fields.items() if name != "__faust"}

    shorter = map_texts(lambda text: " ".join(text.split()), value)
    return json.loads(json.dumps(shorter), object_hook=without_names)


Start = Callable[..., dict[str, Run]]


@pytest.fixture
def start(
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
    session: boto3.Session,
) -> Iterator[Start]:
    """Start an app twice, for small records and for large ones, with the topics that it needs.

    Those for changelogs and repartitioning too: on Apache Kafka Faust 0.15.3 may go on before
    the ones that it has created have leaders, and then refuses to change tables.
    """
    s3 = S3(
        url=environ["FAUST_S3_URL"],
        threshold=100_000,
        session=session,
        region=stack.region,
        endpoint_url=stack.endpoint_url,
        path_style=True,
    )

    def start(app: str, *topics: str) -> dict[str, Run]:
        runs = {}
        for size, padding in PADDING.items():
            prefix = f"{environ['APP_ID']}-{size}"
            for topic in topics:
                stack.create_topic(full_name(prefix, topic), partitions=PARTITIONS)
            own = {"APP_ID": prefix, "RECORDS": prefix}
            worker = start_worker(app, **own)
            runs[size] = Run(prefix, {**environ, **own}, stack.bootstrap, worker, s3, padding)
        for run in runs.values():
            run.worker.ready()
        return runs

    yield start
    asyncio.run(s3.close())


def stop(runs: dict[str, Run]) -> None:
    with ThreadPoolExecutor() as pool:  # it takes each of them a second or two
        assert list(pool.map(lambda run: run.worker.stop(), runs.values())) == [0, 0]


POSTS = [
    {"text": "the quick brown fox", "votes": 3},
    {"text": "the lazy dog", "votes": 7},
    {"text": "quick quick slow", "votes": 5},
    {"text": "a dog is a dog", "votes": 1},
    {"text": "the end", "votes": 6},
]


def test_word_count(start: Start) -> None:
    """Posts are cut into words, and two tables hold counts and posts."""
    counts: dict[str, int] = defaultdict(int)
    best: dict[str, dict[str, Any]] = {}
    for post in sorted(POSTS, key=lambda post: post["votes"]):
        for word in str(post["text"]).split():
            counts[word] += 1
            best[word] = post
    total = sum(counts.values())

    runs = start(
        "examples_word_count", "posts", "words", "rows", "counts-changelog", "best-changelog"
    )
    results = {}
    for size, run in runs.items():
        run.send("posts", *((str(post["text"]), post) for post in POSTS))
        # the last one of each word says what the tables hold
        results[size] = {
            row["word"]: (row["count"], row["best"]) for row in run.values("rows", total)
        }
        run.check("posts", len(POSTS))
        run.check("words", total)
        run.check("best-changelog", len(best))
        changes = run.records("counts-changelog", total)
        assert all(record.value.isdigit() for record in changes)
    assert results["small"] == {word: (counts[word], best[word]) for word in counts}
    assert results["large"] == results["small"]
    stop(runs)


def test_table_join(start: Start) -> None:
    """Orders are grouped by customer, and find the customer's address in a table."""
    grouped = "examples_table_join.bill-{}-orders-Order.customer-repartition"
    runs = start(
        "examples_table_join",
        *("customers", "orders", "invoices", "noted", "known-changelog", grouped),
    )
    results = {}

    def customer(name: str, address: str) -> Sent:
        return name, {"name": name, "address": address}

    def order(number: int, name: str) -> Sent:
        wishes = f"order {number} by Friday"
        return str(number), {"number": number, "customer": name, "wishes": wishes}

    def invoice(number: int, address: str | None) -> dict[str, Any]:
        return {"number": number, "wishes": f"order {number} by Friday", "address": address}

    for size, run in runs.items():
        run.send("customers", customer("ada", "1 Old Lane"), customer("ben", "2 Low Road"))
        run.records("noted", 2)
        run.send("orders", order(1, "ada"), order(2, "ben"), order(3, "cyd"), order(4, "ada"))
        run.records("invoices", 4)
        moved = [customer("ada", "3 New Lane"), ("ben", None), customer("cyd", "4 Far Hill")]
        run.send("customers", *moved)
        run.records("noted", 5)
        run.send("orders", order(5, "ada"), order(6, "ben"), order(7, "cyd"))
        results[size] = sorted(run.values("invoices", 7), key=lambda found: found["number"])
        run.check("customers", 5)
        run.check("orders", 7)
        run.check(grouped, 7)
        changes = run.check("known-changelog", 5)
        assert sum(record.value is None for record in changes) == 1
    assert results["small"] == [
        invoice(1, "1 Old Lane"), invoice(2, "2 Low Road"), invoice(3, None),
        invoice(4, "1 Old Lane"), invoice(5, "3 New Lane"), invoice(6, None),
        invoice(7, "4 Far Hill"),
    ]  # fmt: skip
    assert results["large"] == results["small"]
    stop(runs)


DOCUMENTS = {
    "on-fishing": "patience and a very long line",
    "on-cooking": "first catch your fish",
    "on-sleep": "so to bed",
}


def test_ask_reply(start: Start, tmp_path: Path) -> None:
    """A command of the app asks agents of a worker, in every way, and gets whole answers."""
    runs = start("examples_ask_reply", "documents", "titles")
    commands = {}
    for size, run in runs.items():
        given = [{"title": title, "text": run.padded(text)} for title, text in DOCUMENTS.items()]
        (tmp_path / f"questions-{size}").write_text(json.dumps(given))
        commands[size] = Process(
            *("-m", "guarded", "-A", "examples_ask_reply"),
            *("ask", f"questions-{size}", f"answers-{size}"),
            environ=run.environ,
            cwd=tmp_path,
        )
    results = {}
    for size, command in commands.items():
        assert command.wait() == 0, command.output
        results[size] = plain(json.loads((tmp_path / f"answers-{size}").read_text()))
        results[size]["map"].sort(key=lambda edition: edition["title"])
    editions: list[dict[str, Any]] = [
        {"title": title.title(), "words": len(text.split()), "text": text.upper()}
        for title, text in DOCUMENTS.items()
    ]
    assert results["small"] == {
        "ask": editions,
        "map": sorted(editions, key=lambda edition: str(edition["title"])),
        "join": editions,
        "look_up": editions,
        "missing": None,
    }
    assert results["large"] == results["small"]
    for run in runs.values():
        run.check("documents", 3 * len(DOCUMENTS))
        run.check("replies", 4 * len(DOCUMENTS))
        titles = run.records("titles", len(DOCUMENTS) + 1)
        assert all(parse(record.value) is None for record in titles)
    stop(runs)


#: Sensor, seconds after ``NOW``, degrees; late ones among them.
READINGS = [
    ("roof", 10, 20.5), ("roof", 50, 21.0), ("cellar", 55, 11.0), ("roof", 65, 19.0),
    ("cellar", 70, 12.5), ("roof", 59, 20.0), ("roof", 190, 25.0), ("cellar", 5, 14.0),
]  # fmt: skip
#: Seconds between a reading and the timestamp of its record.
DELAY = 100.0


def test_windowed_aggregation(start: Start) -> None:
    """Tumbling windows by a field of the records, hopping ones by the records' timestamps."""
    tumbling, hopping = TumblingWindow(60.0), HoppingWindow(120.0, 60.0)
    tables = ("hottest", "counts", "notes")
    wanted: dict[str, dict[str, Any]] = {
        sensor: {table: {} for table in tables} for sensor in ("roof", "cellar")
    }
    readings: list[Sent] = []
    changes = 0
    for number, (sensor, second, celsius) in enumerate(READINGS):
        at, notes = NOW + second, f"reading {number} of {sensor}"
        reading = {"sensor": sensor, "celsius": celsius, "at": at, "notes": notes}
        readings.append((sensor, reading, at + DELAY))
        held = wanted[sensor]
        (minute,) = tumbling.ranges(at)
        if minute not in held["hottest"] or celsius > held["hottest"][minute]["celsius"]:
            held["hottest"][minute] = reading
            changes += 1
        for window in hopping.ranges(at + DELAY):
            held["counts"][window] = held["counts"].get(window, 0) + 1
            held["notes"][window] = f"{held['notes'].get(window, '')} {notes};".strip()

    runs = start(
        "examples_windowed_aggregation",
        *("readings", "reports", *(f"{table}-changelog" for table in tables)),
    )
    results = {}
    for size, run in runs.items():
        run.send("readings", *readings)
        # the last one of each sensor says what the tables hold
        results[size] = {
            report["sensor"]: {
                table: {(start, end): value for start, end, value in report[table]}
                for table in tables
            }
            for report in run.values("reports", len(READINGS))
        }
        run.check("readings", len(READINGS))
        run.check("hottest-changelog", changes)
        run.check("notes-changelog", 2 * len(READINGS))
    assert results["small"] == wanted
    assert results["large"] == results["small"]
    stop(runs)
