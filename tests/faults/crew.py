"""The processes of a campaign, and an operator who starts again what has ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from faust_s3.local.process import Server

HERE = Path(__file__).parent
#: Seconds: orchestrators wait longer, and longer each time.
_PAUSE = 1.0
_LOOK = 0.2


class Program(Server):
    """A Python program that runs until it is told to end, in an environment of its own.

    Args:
        name: What its log is called.
        *args: For the interpreter.
        environ: Variables.
        directory: Where its log is.
    """

    stop_timeout = 60.0

    def __init__(self, name: str, *args: str, environ: Mapping[str, str], directory: Path) -> None:
        super().__init__(directory=directory)
        self.name = name
        self._args = args
        self._environ = environ

    def program(self) -> str:
        return sys.executable

    def arguments(self) -> list[str]:
        return list(self._args)

    def environment(self) -> dict[str, str]:
        path = f"{HERE / 'apps'}:{HERE}"
        return {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **self._environ}

    def ready(self) -> bool:
        return True  # nobody waits for it

    def output(self) -> str:
        """What it has written so far, over all its starts."""
        return self.log.read_text(errors="replace")

    def end(self) -> int | None:
        """Ask it to end, and return its exit code, or None if it had to be killed."""
        process = self._process
        if process is None or not self.running:
            return None
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(self.stop_timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return None


def worker(name: str, app: str, *, environ: Mapping[str, str], directory: Path) -> Program:
    """Return a ``faust worker``."""
    return Program(
        name,
        *("-m", "faust", "--datadir", str(directory / f"{name}-data"), "-A", app),
        *("worker", "-l", "info", "--without-web"),
        environ=environ,
        directory=directory,
    )


class Crew:
    """Workers that are to run, and are started again when they end by themselves.

    Args:
        workers: All of them; none runs yet.

    Attributes:
        workers: The same.
        ended: How often one that ran was ended.
        restarts: How often one had ended by itself.
    """

    def __init__(self, workers: list[Program]) -> None:
        self.workers = workers
        self.ended = 0
        self.restarts = 0
        self._wanted: set[Program] = set()
        self._lock = threading.RLock()
        self._done = threading.Event()
        self._operator = threading.Thread(target=self._operate, name="operator", daemon=True)

    def __enter__(self) -> Crew:
        for one in self.workers:
            self.join(one)
        self._operator.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._done.set()
        self._operator.join()
        for one in self.workers:
            one.kill()

    def join(self, one: Program) -> None:
        """Have a worker run."""
        with self._lock:
            self._wanted.add(one)
            one.start()

    def leave(self, one: Program) -> int | None:
        """End a worker as an operator does, and return its exit code."""
        with self._lock:
            self._wanted.discard(one)
            self.ended += one.running
        return one.end()

    def leave_all(self) -> None:
        """End all workers at once."""
        with ThreadPoolExecutor(len(self.workers)) as pool:
            list(pool.map(self.leave, self.workers))

    def outages(self) -> int:
        """Count how often a worker said that its store is away."""
        return sum(one.output().count("is unavailable") for one in self.workers)

    def kill(self, one: Program) -> None:
        """End a worker as the kernel does; it is started again."""
        with self._lock:
            self._wanted.discard(one)
            self.ended += one.running
            one.kill()
        self._done.wait(_PAUSE)
        self.join(one)

    def wait_until_ready(self, timeout: float) -> None:
        """Wait until each has been ready once.

        Raises:
            RuntimeError: If one is not in time.
        """
        deadline = time.monotonic() + timeout
        for one in self.workers:
            while "Worker ready" not in one.output():
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{one.name} is not ready:\n{one.output()[-4000:]}")
                time.sleep(_LOOK)

    def _operate(self) -> None:
        while not self._done.wait(_LOOK):
            for one in self.workers:
                if self._has_ended(one) and not self._done.wait(_PAUSE):
                    self._start_again(one)

    def _has_ended(self, one: Program) -> bool:
        with self._lock:
            return one in self._wanted and not one.running

    def _start_again(self, one: Program) -> None:
        with self._lock:
            if self._has_ended(one):
                self.restarts += 1
                one.start()
