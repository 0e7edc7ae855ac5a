"""Sends real photographs through a real worker and shows what lay on the topic.

``python examples/quickstart/run.py`` from the root of the repository.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Final

import boto3
from aiokafka import (
    AIOKafkaConsumer,
    TopicPartition,
)
from aiokafka.errors import KafkaError
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from faust.exceptions import FaustError
from table import Row, show

from faust_s3 import S3Error
from faust_s3.claim import Claim, parse
from faust_s3.config import DEFAULT_THRESHOLD
from faust_s3.local import LocalStack, LocalStackError

HERE: Final = Path(__file__).parent
PHOTOS: Final = TopicPartition("photos", 0)
SEEN: Final = TopicPartition("seen", 0)

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

#: What the libraries raise when a server does not do its part.
LIBRARIES: Final = (S3Error, FaustError, KafkaError, BotoCoreError, ClientError)

#: Seconds for each step: sending, the agent's work, reading the topic back.
DEADLINE: Final = 60.0
#: Seconds for a worker to stop by itself; one that is still starting may not.
PATIENCE: Final = 5.0


class Failed(Exception):
    """The demonstration did not show what it should; the text says what."""


class Progress:
    """A bar on a terminal; elsewhere a line at the start and at the end."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._bar = sys.stdout.isatty()
        self._show()

    def step(self) -> None:
        """Count one more."""
        self._done += 1
        self._show()

    def _show(self) -> None:
        done, total = self._done, self._total
        if self._bar:
            bar = "#" * (30 * done // total)
            line = f"\r{self._what:<24} [{bar:<30}] {done}/{total}"
            print(line, end="\n" if done == total else "", flush=True)
        elif done in (0, total):
            print(f"{self._what}: {done} of {total}", flush=True)


@asynccontextmanager
async def worker(scratch: Path) -> AsyncIterator[Process]:
    """Run ``faust -A app worker`` as a process of its own."""
    with (scratch / "worker.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "faust", "-A", "app", "--datadir", str(scratch)),
            *("worker", "--without-web", "--loglevel", "info"),
            cwd=HERE,
            stdin=DEVNULL,
            stdout=log,
            stderr=STDOUT,
            start_new_session=True,  # Ctrl-C is for us; we stop the worker then
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), PATIENCE)
        except asyncio.TimeoutError:
            process.kill()
            await process.wait()


@asynccontextmanager
async def reading(bootstrap: str, partition: TopicPartition) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a plain Kafka client, which knows nothing of S3."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    consumer.assign([partition])
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def send(photographs: Sequence[tuple[str, bytes]]) -> int:
    """Send all at the same time, by the application's own topic; return the first's offset."""
    from app import app, photos, s3  # it reads the environment when it is imported

    progress = Progress("sent", len(photographs))

    async def send_one(name: str, photograph: bytes) -> int:
        published = await photos.send(key=name, value=photograph)
        offset: int = (await published).offset
        progress.step()
        return offset

    try:
        offsets = await asyncio.gather(*(send_one(*photograph) for photograph in photographs))
    finally:
        await app.producer.stop()
        await s3.close()
    return offsets[0]


async def collect(consumer: AIOKafkaConsumer, count: int, progress: Progress | None) -> list[Any]:
    """Return the next records of a topic."""
    records: list[Any] = []
    while len(records) < count:
        records.append(await consumer.getone())
        if progress is not None:
            progress.step()
    return records


async def reports(consumer: AIOKafkaConsumer, count: int, process: Process) -> list[Any]:
    """Return what the agent reported, unless the worker ends or takes too long."""
    collecting = asyncio.ensure_future(
        collect(consumer, count, Progress("seen by the agent", count))
    )
    ending = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait(
            {collecting, ending}, timeout=DEADLINE, return_when=asyncio.FIRST_COMPLETED
        )
        if collecting.done():
            return [json.loads(record.value) for record in collecting.result()]
        if ending.done():
            raise Failed(f"the worker ended with exit code {ending.result()}")
        raise Failed(f"the agent did not report all {count} photographs within {DEADLINE:g} s")
    finally:
        collecting.cancel()
        ending.cancel()
        await asyncio.gather(collecting, ending, return_exceptions=True)


def cancelled_by_signals() -> None:
    """Let Ctrl-C and a polite kill cancel the current task, once, so that it can clean up."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def interrupt() -> None:
        for number in SIGNALS:
            loop.add_signal_handler(number, bool)  # we are stopping already
        task.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, interrupt)


async def demonstrate(
    stack: LocalStack, photographs: Sequence[tuple[str, bytes]], scratch: Path
) -> list[Row]:
    """Send the photographs, wait for the agent, and compare."""
    cancelled_by_signals()
    count = len(photographs)
    async with reading(stack.bootstrap, SEEN) as seen, worker(scratch) as process:
        await seen.seek_to_end(SEEN)
        first = await asyncio.wait_for(send(photographs), DEADLINE)
        reported = await reports(seen, count, process)
    async with reading(stack.bootstrap, PHOTOS) as raw:
        raw.seek(PHOTOS, first)
        records = await asyncio.wait_for(collect(raw, count, None), DEADLINE)
    objects = await asyncio.to_thread(objects_in, stack)
    return [
        compare(photograph, record, report, objects)
        for photograph, record, report in zip(photographs, records, reported, strict=True)
    ]


def objects_in(stack: LocalStack) -> dict[str, int]:
    """Return the sizes of the objects that the bucket holds, by key."""
    client = boto3.client(
        "s3", endpoint_url=stack.endpoint_url, config=Config(s3={"addressing_style": "path"})
    )
    with closing(client):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=stack.bucket)
        return {found["Key"]: found["Size"] for page in pages for found in page.get("Contents", ())}


def compare(
    photograph: tuple[str, bytes], record: Any, report: Mapping[str, Any], objects: dict[str, int]
) -> Row:
    """Hold what was sent against the topic, the bucket and the agent's report."""
    name, content = photograph
    found = parse(record.value)
    claim = found if isinstance(found, Claim) else None
    problem = ""
    if record.key.decode() != name or report["name"] != name:
        problem = f"out of order: {record.key.decode()} on the topic, {report['name']} seen"
    elif report["sha256"] != hashlib.sha256(content).hexdigest():
        problem = f"the agent saw {report['size']} other bytes"
    elif (claim is not None) is not (len(content) > DEFAULT_THRESHOLD):
        problem = "on the wrong side of the threshold"
    elif claim is not None and objects.get(claim.key) != len(content):
        problem = "not whole in the bucket"
    return Row(name, len(content), len(record.value), claim, problem)


def run() -> None:
    """Start the servers, demonstrate, and stop them.

    Raises:
        Failed: If anything is not as it should be.
    """
    from photographs import photographs

    pictures = list(photographs())
    with TemporaryDirectory() as scratch, LocalStack() as stack:
        os.environ.update(stack.environ)  # for our own sending, and for the worker
        for topic in (PHOTOS.topic, SEEN.topic):
            stack.create_topic(topic, partitions=1)
        began = monotonic()
        print(f"Kafka at {stack.broker}, S3 at {stack.endpoint_url}")
        try:
            rows = asyncio.run(demonstrate(stack, pictures, Path(scratch)))
        except Failed:
            log = Path(scratch, "worker.log").read_text(encoding="utf-8", errors="replace")
            print(log[-4000:], file=sys.stderr)
            raise
        seconds = monotonic() - began
    show(rows)
    if wrong := [row for row in rows if row.problem]:
        raise Failed(
            f"{len(wrong)} of {len(rows)} records went wrong; {wrong[0].name}: {wrong[0].problem}"
        )
    print(f"All {len(rows)} photographs arrived whole and in order, in {seconds:.1f} s.")


def main() -> int:
    """Return the exit code: 0 only if every photograph arrived whole and in order."""
    # A polite kill stops servers and worker as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run()
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("Interrupted; servers and worker are stopped.", file=sys.stderr)
        return 130
    except (ModuleNotFoundError, PackageNotFoundError) as exc:
        print(f"{exc}: pip install -r {HERE / 'requirements.txt'}", file=sys.stderr)
    except asyncio.TimeoutError:
        print(f"Failed: a step took longer than {DEADLINE:g} s.", file=sys.stderr)
    except (Failed, LocalStackError, *LIBRARIES, OSError) as exc:
        print(f"Failed: {exc}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
