"""Every way of opting in, through a real worker."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workers import Process, Worker, produce, read_until, values

from faust_s3.claim import MAGIC

KINDS = ["json", "yaml", "binary", "raw", "alone", "pickle", "chained", "model", "own", "keys"]
SIZES = 5
#: Not now, but not so long ago that retention would take the records away.
TIMESTAMP = float(int(time.time()) - 1000)


def test_every_codec_model_and_decorator(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker]
) -> None:
    """Values arrive whole and in order, with key, headers, timestamp and partition."""
    for kind in KINDS:
        stack.create_topic(f"{environ['RECORDS']}-{kind}", partitions=1)
    stack.create_topic(environ["SEEN"], partitions=1)
    worker = start_worker("codecs_app", TIMESTAMP=str(TIMESTAMP)).ready()
    total = len(KINDS) * SIZES
    seen = values(
        read_until(stack.bootstrap, environ["SEEN"], lambda records: len(records) >= total)
    )
    for kind in KINDS:
        reports = [report for report in seen if report["kind"] == kind]
        texts = [("x" * size if kind == "pickle" else "é" * (size // 2))
                 for size in (0, 1, 900, 5000, 200_000)]  # fmt: skip
        wanted = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        assert [report["sha256"] for report in reports] == wanted, kind
        assert {tuple(report["headers"]) for report in reports} == {("kind",)}
        assert {report["timestamp"] for report in reports} == {TIMESTAMP}
        key = hashlib.sha256(b"k" * 2000).hexdigest() if kind == "keys" else None
        assert {report["key"] for report in reports} == {key}
        raw = read_until(
            stack.bootstrap, f"{environ['RECORDS']}-{kind}", lambda records: len(records) >= SIZES
        )
        assert [len(record.value) < 1100 for record in raw] == [True] * SIZES
        claims = [record for record in raw if record.value.startswith(MAGIC)]
        assert len(claims) >= 2
        assert all(len(record.value) <= 128 for record in claims)
        assert all((record.key or b"").startswith(MAGIC) for record in raw if kind == "keys")
    assert worker.stop() == 0


def test_old_and_foreign_records_pass(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker]
) -> None:
    """A topic can be switched on while unmarked records lie on it."""
    for kind in KINDS:
        stack.create_topic(f"{environ['RECORDS']}-{kind}", partitions=1)
    stack.create_topic(environ["SEEN"], partitions=1)
    old = json.dumps({"text": "written before " + "x" * 5000}).encode()
    produce(stack.bootstrap, f"{environ['RECORDS']}-json", (None, old))
    worker = start_worker("codecs_app", TIMESTAMP=str(TIMESTAMP)).ready()

    def arrived(records: list[Any]) -> bool:
        return any(report["size"] == 5015 for report in values(records))

    read_until(stack.bootstrap, environ["SEEN"], arrived)
    worker.wait_for("sent all")
    assert worker.stop() == 0


SCRIPT = """
import asyncio, sys
from aiokafka import AIOKafkaProducer
from faust.serializers import codecs
from codecs_app import s3, name

async def main():
    codec = codecs.get_codec("json") | s3.codec_for(name("json"))
    value = {"text": "s" * 50_000}
    data = codec.dumps(value)          # synchronously, with a loop running, as in a notebook
    assert codec.loads(data) == value
    producer = AIOKafkaProducer(bootstrap_servers=sys.argv[1])
    await producer.start()
    await producer.send_and_wait(name("json"), data)
    await producer.stop()
    await s3.close()

asyncio.run(main())
"""


def test_codec_outside_a_worker(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """A script with another Kafka client writes what a worker reads."""
    for kind in KINDS:
        stack.create_topic(f"{environ['RECORDS']}-{kind}", partitions=1)
    stack.create_topic(environ["SEEN"], partitions=1)
    script = Process(
        "-c", SCRIPT, stack.bootstrap,
        environ={**environ, "TIMESTAMP": str(TIMESTAMP)}, cwd=tmp_path,
    )  # fmt: skip
    assert script.wait() == 0, script.output
    worker = start_worker("codecs_app", TIMESTAMP=str(TIMESTAMP)).ready()

    def arrived(records: list[Any]) -> bool:
        return any(report["size"] == 50_000 for report in values(records))

    read_until(stack.bootstrap, environ["SEEN"], arrived)
    worker.wait_for("sent all")
    assert worker.stop() == 0


@pytest.mark.parametrize("setting", ["FAUST_S3_THRESHOLD=1000000", "FAUST_S3_URL=nowhere"])
def test_wrong_settings_end_the_worker(
    environ: dict[str, str], start_worker: Callable[..., Worker], setting: str
) -> None:
    """A wrong setting gets one sentence and an exit code, before the worker joins."""
    name, _, value = setting.partition("=")
    worker = start_worker("settings_app", **{name: value})
    assert worker.wait() != 0
    assert name.removeprefix("FAUST_S3_").lower() in worker.output
    assert value in worker.output
