"""Faults that proxies inject, and the proxies' switch."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from faust_s3.local.proxy import Proxy

#: Close with a reset instead of a proper end.
_LINGER = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Fault:
    """What becomes of connections or requests; the base class: nothing."""


@dataclass(frozen=True)
class Slow(Fault):
    """Answers come later, by ``latency`` seconds and up to ``jitter`` more."""

    latency: float = 0.0
    jitter: float = 0.0


@dataclass(frozen=True)
class Refused(Fault):
    """Nobody listens, and connections are gone."""


@dataclass(frozen=True)
class BlackHole(Fault):
    """Connections are accepted and bytes taken, and nothing ever comes back."""


@dataclass(frozen=True)
class Reset(Fault):
    """Connections are reset: those to S3 in the middle of a body, those to Kafka at once."""


@dataclass(frozen=True)
class Truncated(Fault):
    """Bodies end in their middle, with a proper end of the connection. S3 only."""


@dataclass(frozen=True)
class WrongBytes(Fault):
    """Bodies have the right length and wrong bytes. S3 only."""


@dataclass(frozen=True)
class Trickle(Fault):
    """Bodies come a byte every ``interval`` seconds. S3 only."""

    interval: float = 0.05


@dataclass(frozen=True)
class Answer(Fault):
    """A ``share`` of the requests gets an error of S3's. S3 only."""

    status: int
    code: str
    share: float = 1.0


#: S3 asks for less.
SLOW_DOWN = Answer(503, "SlowDown")
THROTTLED = Answer(503, "SlowDown", share=0.5)
INTERNAL_ERROR = Answer(500, "InternalError")
ACCESS_DENIED = Answer(403, "AccessDenied")
NO_SUCH_KEY = Answer(404, "NoSuchKey")
NO_FAULT = Fault()


class FaultProxy(Proxy):
    """A proxy whose fault can be switched while connections are open.

    Attributes:
        injected: How many connections, requests or pieces of them have suffered, those
            among them for which there was no server. Who is refused does not get here.
    """

    def __init__(self, host: str, port: int, *, listen: int | None = None) -> None:
        super().__init__(host, port, listen=listen)
        self.injected = 0
        self._fault: Fault = NO_FAULT
        self._switched = asyncio.Event()

    @property
    def fault(self) -> Fault:
        """What goes wrong at present."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self.call(self._switch(fault))

    @contextmanager
    def suffering(self, fault: Fault) -> Iterator[None]:
        """Have a fault for the time of a ``with`` statement."""
        self.fault = fault
        try:
            yield
        finally:
            self.fault = NO_FAULT

    async def _switch(self, fault: Fault) -> None:
        before, self._fault = self._fault, fault
        self._switched.set()
        self._switched = asyncio.Event()
        if isinstance(fault, Refused):
            await self._close()
        elif isinstance(before, Refused):
            await self._open()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the server; that it is not there is a fault, too."""
        try:
            return await super().connect()
        except OSError:
            self.injected += 1
            raise

    async def not_in_a_hole(self) -> None:
        """Pass on nothing while there is a black hole, and lose what waited in it.

        Raises:
            ConnectionResetError: After the black hole.
        """
        if isinstance(self._fault, BlackHole):
            await self._switched.wait()
            raise ConnectionResetError("it had lain in a black hole")


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with a reset, unless it is closed."""
    if writer.is_closing():
        return
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    writer.transport.abort()
