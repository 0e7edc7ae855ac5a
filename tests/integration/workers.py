"""Real ``faust worker`` processes, and what comes out of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

APPS = Path(__file__).parent / "apps"


class Process:
    """A child process whose output is kept and can be waited on."""

    def __init__(self, *args: str, environ: Mapping[str, str], cwd: Path) -> None:
        given = {**os.environ, "PYTHONPATH": str(APPS), "PYTHONUNBUFFERED": "1", **environ}
        self._process = subprocess.Popen(
            [sys.executable, *args],
            env={name: value for name, value in given.items() if value},
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._lines.append("")  # the end
            self._changed.notify_all()

    @property
    def output(self) -> str:
        return "".join(self._lines)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_for(self, text: str, timeout: float = 60, *, times: int = 1) -> None:
        """Wait until the process has printed ``text`` so many times."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: self.output.count(text) >= times or self._lines[-1:] == [""], timeout
            )
        assert found, f"no {text!r} within {timeout} s:\n{self.output}"
        printed = self.output.count(text) >= times
        assert printed, f"ended before {text!r}:\n{self.output}"

    def wait(self, timeout: float = 60) -> int:
        """Wait until the process ends, and return its exit code."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still runs after {timeout} s:\n{self.output}") from None
        self._reader.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def stop(self, timeout: float = 60) -> int:
        """Stop it as an operator would."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """Stop it as the kernel would, and let go of it; one that has ended, too."""
        self._process.kill()
        self._process.wait()
        self._reader.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


class Worker(Process):
    """``faust -A app worker``."""

    def __init__(self, app: str, *, environ: Mapping[str, str], datadir: Path) -> None:
        datadir.mkdir(parents=True, exist_ok=True)
        super().__init__(
            "-m", "guarded", "--datadir", str(datadir), "-A", app,
            "worker", "-l", "info", "--without-web",
            environ=environ, cwd=datadir,
        )  # fmt: skip

    def ready(self, timeout: float = 90) -> Worker:
        self.wait_for("Worker ready", timeout)
        return self


@asynccontextmanager
async def consuming(bootstrap: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A plain client that reads a topic from its beginning, outside any group."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=8 << 20,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


def read_until(
    bootstrap: str,
    topic: str,
    enough: Callable[[list[ConsumerRecord]], bool],
    timeout: float = 120,
) -> list[ConsumerRecord]:
    """Return a topic's records once there are enough of them."""
    records: list[ConsumerRecord] = []

    async def read() -> None:
        async with consuming(bootstrap, topic) as consumer:
            async for record in consumer:
                records.append(record)
                if enough(records):
                    return

    try:
        asyncio.run(asyncio.wait_for(read(), timeout))
    except asyncio.TimeoutError:
        raise AssertionError(
            f"{len(records)} records of {topic} within {timeout} s were not enough; the last: "
            f"{[record.value and record.value[:200] for record in records[-10:]]}"
        ) from None
    return records


def values(records: list[ConsumerRecord]) -> list[Any]:
    return [json.loads(record.value) for record in records]


def produce(
    bootstrap: str,
    topic: str,
    *pairs: tuple[bytes | None, bytes | None],
    headers: Sequence[tuple[str, bytes]] = (),
) -> None:
    """Send keys and values with a plain client."""

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
        await producer.start()
        try:
            for key, value in pairs:
                await producer.send_and_wait(topic, value, key=key, headers=list(headers))
        finally:
            await producer.stop()

    asyncio.run(send())


def committed(bootstrap: str, group: str, topic: str) -> int | None:
    """Return the offset that a group has committed in a topic's first partition."""

    async def ask() -> int | None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
        )
        await consumer.start()
        try:
            offset: int | None = await consumer.committed(TopicPartition(topic, 0))
            return offset
        finally:
            await consumer.stop()

    return asyncio.run(ask())
