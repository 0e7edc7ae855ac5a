"""What a contender's process is told, and what it answers.

A process gets a `Job` as its only argument, writes ``ready`` to stdout when it is, begins when
a line comes on stdin, and in the end writes its `Trace` as a line of JSON. What the figures
are is decided in ``window.py``, alike for all.

Only the standard library is imported here: contenders have environments of their own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Final

__all__ = ["Job", "Trace", "answer", "at_once", "until_over", "wait_for_go"]

#: Requests in flight, of the bare clients as of faust_s3, whose default this is.
CONCURRENCY: Final = 32
#: Bytes in flight: faust_s3's default for a stream, and for what agents send.
IN_FLIGHT: Final = 64 * 1024 * 1024
#: Seconds between two looks at how late the event loop is.
TICK: Final = 0.005
_RSS_EVERY: Final = 0.05


@dataclass(frozen=True)
class Job:
    """One measurement.

    Attributes:
        contender: Its name.
        mode: ``consume``, ``produce`` or ``process`` (read and send on).
        kind: Of `records.KINDS`.
        records: How many there are.
        seconds: When to stop, counted from the first record. 0: after the last one.
        salt: Distinguishes what this process writes from what others do.
        source: Topic, or prefix of object keys, that is read.
        target: Topic, or prefix of object keys, that is written.
        bootstrap: The broker.
        endpoint: The S3 endpoint.
        bucket: Where payloads are read from.
        target_bucket: Where payloads are written to.
        threshold: Bytes; larger ones are offloaded.
        scratch: A directory of this process.
    """

    contender: str
    mode: str
    kind: str
    records: int
    seconds: float
    salt: str
    source: str
    target: str
    bootstrap: str
    endpoint: str
    bucket: str
    target_bucket: str
    threshold: int
    scratch: str

    @classmethod
    def given(cls) -> Job:
        """Return the one that this process is for."""
        return cls(**json.loads(sys.argv[1]))

    def dumps(self) -> str:
        """Return what `given` reads."""
        return json.dumps(asdict(self))


@dataclass
class Trace:
    """What a process notes while it works. Times are seconds of the monotonic clock.

    Attributes:
        done: When each record was done, the process's CPU seconds by then, and its number.
        late: When the event loop was looked at, and how many seconds late it was.
        rss: When, and how many bytes of memory the process had.
    """

    done: list[tuple[float, float, int]] = field(default_factory=list)
    late: list[tuple[float, float]] = field(default_factory=list)
    rss: list[tuple[float, int]] = field(default_factory=list)

    def record(self, number: int) -> None:
        """Note that a record is done. Threads may call it."""
        self.done.append((time.monotonic(), time.process_time(), number))

    def is_over(self, job: Job) -> bool:
        """Tell whether all records are done, or the time is."""
        if not self.done:
            return False
        late = bool(job.seconds) and time.monotonic() - self.done[0][0] > job.seconds
        return late or len(self.done) >= job.records

    def watch_memory(self) -> None:
        """Note the memory every 50 ms, in a thread."""
        threading.Thread(target=self._watch_memory, daemon=True).start()

    def _watch_memory(self) -> None:
        while True:
            self.rss.append((time.monotonic(), resident()))
            time.sleep(_RSS_EVERY)


def resident() -> int:
    """Return the bytes of memory that this process has now (Linux), or 0."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096
    except OSError:
        return 0


async def watch_loop(trace: Trace, job: Job) -> None:
    """Note again and again how late a timer of the running event loop fires."""
    while not trace.is_over(job):
        due = time.monotonic() + TICK
        await asyncio.sleep(TICK)
        now = time.monotonic()
        trace.late.append((now, max(now - due, 0.0)))


async def until_over(job: Job, trace: Trace, work: Iterable[asyncio.Future[None]] = ()) -> None:
    """Watch the event loop until all records are done, or the time is over.

    Args:
        job: What is done.
        trace: Where it is noted.
        work: What does it; the first error is raised.
    """
    watching = asyncio.ensure_future(watch_loop(trace, job))
    waited_for = {watching, *work}
    while not watching.done():
        done, waited_for = await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()


def at_once(kind_size: int | None) -> int:
    """Return how many requests may be in flight for records of a size, if that is known."""
    return max(1, min(CONCURRENCY, IN_FLIGHT // (kind_size or 1)))


def wait_for_go() -> None:
    """Say that everything is ready, and wait until all others are."""
    print("ready", flush=True)
    sys.stdin.readline()


def answer(trace: Trace) -> None:
    """Hand over what was noted, and wait to be ended: nothing here is worth a proper end."""
    print(json.dumps(asdict(trace)), flush=True)
    while True:
        time.sleep(60)
