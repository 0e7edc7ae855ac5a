"""A server process of our own: its directory, its ports, its start and its end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from faust_s3.local.ports import free_ports

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["LocalStackError", "Server"]

#: The slowest of our servers answers after 5 s on an idle machine.
DEFAULT_START_TIMEOUT: Final = 60.0
#: Kafka takes 3 s to end on an idle machine and 11 s on a busy one.
STOP_TIMEOUT: Final = 20.0
_POLL: Final = 0.05
_LOG_TAIL: Final = 4096

#: Nothing else of our environment reaches a server: AWS_*, S3_BUCKET, LISTENER_URL and
#: others would reconfigure it.
_ENVIRONMENT: Final = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")

#: Blocks until this interpreter has gone, however it went, and then ends the server's
#: process group and removes what it leaves. PR_SET_PDEATHSIG would be shorter, but it fires
#: when the thread that started the server ends, and exists on Linux only.
_WATCHDOG: Final = 'read -r _; kill -s KILL -- "-$1"; shift; sleep 1; rm -rf -- "$@"'


class LocalStackError(RuntimeError):
    """A local server is missing, does not start or does not do what it was asked."""


class Server(ABC):
    """A server process in a directory and on ports that are its own.

    It starts in a session of its own, so that Ctrl-C in a terminal does not reach it, and it
    does not outlive this interpreter.

    Args:
        directory: Where it keeps its data. None: a temporary one, removed by `stop`.
        start_timeout: How long a start may take, in seconds.

    Attributes:
        name: What error messages and the log file call it.
        port_count: How many ports it listens on.
    """

    name: ClassVar[str]
    port_count: ClassVar[int] = 1

    #: Seconds that an orderly end may take.
    stop_timeout: float = STOP_TIMEOUT

    def __init__(
        self,
        *,
        directory: str | Path | None = None,
        start_timeout: float = DEFAULT_START_TIMEOUT,
    ) -> None:
        self.start_timeout = start_timeout
        self._given = Path(directory).absolute() if directory is not None else None
        self._directory: Path | None = None
        self._ports: range | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def program(self) -> str:
        """Return the executable.

        Raises:
            LocalStackError: If it is not installed.
        """

    @abstractmethod
    def arguments(self) -> list[str]:
        """Return the rest of the command line; directory and ports are known by now."""

    @abstractmethod
    def ready(self) -> bool:
        """Ask the server once, in its own protocol, if it does its work.

        Returns:
            True once it does. False and an ``OSError`` mean: not yet.
        """

    def prepare(self) -> None:  # noqa: B027 - most servers need nothing
        """Write what the server reads at its start; called before each one."""

    def environment(self) -> dict[str, str]:
        """Return what the server finds in its environment besides the bare necessities."""
        return {}

    def litter(self) -> list[Path]:
        """Return files outside of its directory that the server leaves behind."""
        return []

    @property
    def directory(self) -> Path:
        """Where the server keeps its data."""
        if self._directory is None:
            raise LocalStackError(f"{self.name} has not been started")
        return self._directory

    @property
    def ports(self) -> range:
        """The ports that are the server's own until `stop`."""
        if self._ports is None:
            raise LocalStackError(f"{self.name} has not been started")
        return self._ports

    @property
    def pid(self) -> int | None:
        """The process, which leads a group of its own, while it runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> Path:
        """What the server writes to stdout and stderr, over all its starts."""
        return self.directory / f"{self.name}.log"

    def start(self) -> Self:
        """Start, and return when the server does its work. Does nothing if it runs.

        After `kill` the server comes back on the same ports and the same directory.

        Raises:
            LocalStackError: If the server ends or does not answer in time; the text holds
                the end of its log. Nothing is left behind.
        """
        if self.running:
            return self
        try:
            self._reap()
            if self._ports is None:
                self._ports = free_ports(self.port_count)
            if self._directory is None:
                self._directory = self._given or Path(tempfile.mkdtemp(prefix="faust-s3-"))
            self._directory.mkdir(parents=True, exist_ok=True)
            self.prepare()
            self._launch()
            self._wait_until_ready()
        except BaseException as exc:
            self.kill()
            self.stop()
            if isinstance(exc, OSError):
                raise LocalStackError(f"{self.name} cannot be started: {exc}") from exc
            raise
        return self

    def stop(self) -> None:
        """End the server and give up ports and temporary directory. Does nothing twice."""
        self._terminate()
        for path in self._leftovers():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        self._directory = self._ports = None

    def kill(self) -> None:
        """End the server as a crash would (SIGKILL); `start` brings it back."""
        self._signal(signal.SIGKILL)
        self._reap()

    def restart(self) -> Self:
        """Start again on the same ports and the same directory, after a proper end."""
        self._terminate()
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _launch(self) -> None:
        kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.program(), *self.arguments()],
                cwd=self.directory,
                env=kept | self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        leftovers = [str(path) for path in self._leftovers()]
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "sh", str(self._process.pid), *leftovers],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self.start_timeout
        while not self._answers():
            if (code := self._process.poll()) is not None:
                raise LocalStackError(self._epitaph(f"ended with exit code {code}"))
            if time.monotonic() > deadline:
                raise LocalStackError(
                    self._epitaph(f"does not answer after {self.start_timeout:g} s")
                )
            time.sleep(_POLL)

    def _answers(self) -> bool:
        try:
            return self.ready()
        except (OSError, HTTPException):
            return False

    def _epitaph(self, what: str) -> str:
        tail = self.log.read_bytes()[-_LOG_TAIL:].decode(errors="replace").strip()
        return f"{self.name} {what}; its log ends:\n{tail or '(empty)'}"

    def _terminate(self) -> None:
        if self._process is not None and self.running:
            self._signal(signal.SIGTERM)
            try:
                self._process.wait(self.stop_timeout)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
        self._reap()

    def _signal(self, number: signal.Signals) -> None:
        # Until it is reaped, neither the process id nor the group can be somebody else's.
        if self._process is not None and self.running:
            os.killpg(self._process.pid, number)

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
            self._process = None
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.wait()
            assert self._watchdog.stdin is not None
            self._watchdog.stdin.close()
            self._watchdog = None

    def _leftovers(self) -> list[Path]:
        if self._ports is None:
            return []
        temporary = [self._directory] if self._directory and not self._given else []
        return [*self.litter(), *temporary]
