"""Runs measurements: each contender in processes of its own, in turns, for several rounds."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any, Final
from uuid import uuid4

from benchmarks.cases import CONTENDERS, LOADERS, Case, Contender, Plan
from benchmarks.environments import python_for
from benchmarks.job import Job, at_once
from benchmarks.records import COUNTS, KINDS, threshold_of
from benchmarks.servers import PLAIN_CONFIG, Servers
from benchmarks.window import WARM_UP, Figures, NoWindow, judge

__all__ = ["Problem", "Result", "Runner", "play"]

ROOT: Final = Path(__file__).parents[1]
_LOADED: Final = "faust-s3"  # the bucket that is there from the start
#: Seconds: how long a process may take beyond its measurement.
_PATIENCE: Final = 90.0


class Failed(Exception):
    """A measurement failed; the text says which and how."""


@dataclass(frozen=True)
class Result:
    """One measurement.

    Attributes:
        case: Name of the case.
        contender: Name of the contender.
        round: Counted from 1.
        figures: What was found.
        memory: Of a backlog: seconds since the first record, and MiB.
    """

    case: str
    contender: str
    round: int
    figures: Figures
    memory: list[tuple[float, float]]


@dataclass(frozen=True)
class Problem:
    """A measurement that failed."""

    case: str
    contender: str
    round: int
    text: str


class Process:
    """A contender's process.

    Args:
        contender: Whose.
        job: What it is to do.
        environ: Variables that it needs.
        log: File for what it says.
    """

    def __init__(self, contender: Contender, job: Job, environ: dict[str, str], log: Path) -> None:
        self._who = f"{contender.name} ({job.mode}, {job.kind})"
        self._log = log
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [python_for(contender.requirements), "-m", contender.module, job.dumps()],
                cwd=ROOT,
                env={**os.environ, **environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self._lines: Queue[str] = Queue()
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def line(self, timeout: float) -> str:
        """Return the next line that it writes.

        Raises:
            Failed: If it does not, or ends; the text holds the end of its log.
        """
        try:
            line = self._lines.get(timeout=timeout)
        except Empty:
            line = ""
        if not line:
            code = self._process.poll()
            problem = f"says nothing for {timeout:g} s" if code is None else f"ended with {code}"
            log = self._log.read_text(encoding="utf-8", errors="replace")[-3000:].strip()
            raise Failed(f"{self._who} {problem}; its log ends:\n{log or '(empty)'}")
        return line

    def go(self) -> None:
        """Have it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it. Nothing that it holds is worth a proper end."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


class Runner:
    """Runs the measurements of a plan.

    Args:
        servers: What all share.
        directory: For logs and data of processes.
        part: Of the records.

    Attributes:
        wire: Bytes of key and value of records of 1 MiB on their topic, by format.
    """

    def __init__(self, servers: Servers, directory: Path, part: float) -> None:
        self.servers = servers
        self.part = part
        self.directory = directory
        self.wire: dict[str, list[int]] = {}
        self._loaded: dict[tuple[str, str, int, int], str] = {}

    def load(self, case: Case, name: str) -> str:
        """Have what a contender reads written, unless it is there, and return where."""
        contender = CONTENDERS[name]
        count = self._count(case, contender)
        what = (contender.format, case.kind, case.partitions, count)
        if what not in self._loaded:
            place = f"{contender.format}-{case.kind}-{case.partitions}-{count}".replace(" ", "")
            self._topic(contender, place, partitions=case.partitions)
            job = self._job(
                replace(case, mode="produce", latency=0.0, proxied=False),
                LOADERS[contender.format],
                seconds=0.0,
                target=place,
                bucket=_LOADED,
            )
            self._run(job, processes=1, timeout=600.0)
            self._loaded[what] = place
            if case.kind == "1 MiB":
                self.wire.setdefault(contender.format, self.servers.record_sizes(place))
        return self._loaded[what]

    def measure(self, case: Case, name: str, *, number: int, seconds: float, bucket: str) -> Result:
        """Measure a contender.

        Args:
            case: What with.
            name: The contender.
            number: Of the round.
            seconds: Longest window.
            bucket: Where it may write.

        Raises:
            Failed: If it does not work.
        """
        source = "unused" if case.mode == "produce" else self.load(case, name)
        target = f"out-{uuid4().hex[:12]}"
        if case.mode != "consume":
            self._topic(CONTENDERS[name], target, partitions=1)
        limit = 0.0 if case.backlog else WARM_UP + seconds + 0.5
        job = self._job(case, name, seconds=limit, source=source, target=target, bucket=bucket)
        traces = self._run(job, processes=case.workers, timeout=limit + _PATIENCE)
        figures = judge(
            traces,
            records=job.records,
            margin=2 * at_once(KINDS[case.kind]),
            seconds=float("inf") if case.backlog else seconds,
        )
        memory = []
        if case.backlog:
            began = traces[0]["done"][0][0]
            memory = [
                (round(moment - began, 2), round(size / 2**20, 1))
                for moment, size in traces[0]["rss"][::4]
            ]
        return Result(case.name, name, number, figures, memory)

    def _job(
        self,
        case: Case,
        name: str,
        *,
        seconds: float,
        target: str,
        bucket: str,
        source: str = "unused",
    ) -> Job:
        salt = uuid4().hex[:12]
        return Job(
            contender=name,
            mode=case.mode,
            kind=case.kind,
            records=self._count(case, CONTENDERS[name]),
            seconds=seconds,
            salt=salt,
            source=source,
            target=target,
            bootstrap=self.servers.broker.bootstrap,
            endpoint=self.servers.endpoint(case.latency, proxied=case.proxied),
            bucket=_LOADED,
            target_bucket=bucket,
            threshold=threshold_of(case.kind),
            scratch=str(self.directory / salt),
        )

    def _count(self, case: Case, contender: Contender) -> int:
        return case.backlog or int(COUNTS[case.kind] * contender.part * self.part)

    def _topic(self, contender: Contender, name: str, *, partitions: int) -> None:
        config = PLAIN_CONFIG if contender.format == "plain" else None
        self.servers.broker.create_topic(name, partitions=partitions, config=config)

    def _run(self, job: Job, *, processes: int, timeout: float) -> list[dict[str, Any]]:
        with self._processes(job, processes) as running:
            for process in running:
                process.line(_PATIENCE)
            for process in running:
                process.go()
            return [json.loads(process.line(timeout)) for process in running]

    @contextmanager
    def _processes(self, job: Job, count: int) -> Iterator[list[Process]]:
        running: list[Process] = []
        try:
            for number in range(count):
                mine = replace(job, scratch=f"{job.scratch}-{number}")
                log = self.directory / f"{job.salt}-{number}.log"
                running.append(Process(CONTENDERS[job.contender], mine, self.servers.environ, log))
            yield running
        finally:
            for process in running:
                process.kill()


def play(
    plan: Plan, runner: Runner, *, began: float, say: Callable[[str, float], None]
) -> Iterator[Result | Problem]:
    """Yield the results of a plan; a measurement that fails does not keep others from it.

    Args:
        plan: What is to be measured.
        runner: Measures.
        began: When the run began, of the monotonic clock.
        say: Told what is measured next, and which part of the plan is done.
    """
    turns = [
        (number, case)
        for number in range(1, plan.rounds + 1)
        for case in plan.cases
        if number <= case.rounds
    ]
    total, done = sum(len(case.contenders) for _, case in turns), 0
    for at, (number, case) in enumerate(turns):
        bucket = f"round-{number}"
        runner.servers.s3.create_bucket(bucket)
        # Nobody is always the first.
        first = number % len(case.contenders)
        for name in (*case.contenders[first:], *case.contenders[:first]):
            passed = (time.monotonic() - began) / (plan.minutes * 60)
            if number > 1 and passed > 1:
                return
            say(f"round {number}: {case.name}: {name}", max(done / total, min(passed, 0.99)))
            try:
                yield runner.measure(case, name, number=number, seconds=plan.seconds, bucket=bucket)
            except (Failed, NoWindow) as exc:
                yield Problem(case.name, name, number, str(exc))
            done += 1
        if at + 1 == len(turns) or turns[at + 1][0] > number:
            runner.servers.remove_bucket(bucket)
