"""A far store: passes TCP on, and has each answer come later by a chosen time.

It is a process of its own, so that no contender pays for it, and cheaper than
`faust_s3.local.LatencyProxy`: threads that do nothing but receive and send.

    python -m benchmarks.proxy LISTEN PORT SECONDS
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from faust_s3.local.process import Server

__all__ = ["ProxyProcess"]

CHUNK = 2**18  # bytes


class ProxyProcess(Server):
    """The proxy as a server that can be started.

    Args:
        endpoint_url: What it is in front of, on this machine.
        latency: Seconds to add to each answer.
    """

    name = "latency-proxy"

    def __init__(self, endpoint_url: str, *, latency: float) -> None:
        super().__init__()
        self._behind = endpoint_url.rpartition(":")[2]
        self._latency = latency

    @property
    def endpoint_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.ports[0]}"

    def program(self) -> str:
        return sys.executable

    def arguments(self) -> list[str]:
        return [str(Path(__file__)), str(self.ports[0]), self._behind, str(self._latency)]

    def ready(self) -> bool:
        socket.create_connection(("127.0.0.1", self.ports[0])).close()
        return True


def serve(listen: int, port: int, latency: float) -> None:
    """Accept connections for ever."""
    with socket.create_server(("127.0.0.1", listen), backlog=256) as server:
        while True:
            near, _ = server.accept()
            threading.Thread(target=forward, args=(near, port, latency), daemon=True).start()


def forward(near: socket.socket, port: int, latency: float) -> None:
    """Serve one connection."""
    asked = threading.Event()

    def delay() -> None:
        if asked.is_set():
            asked.clear()
            time.sleep(latency)

    with near, socket.create_connection(("127.0.0.1", port)) as far:
        for side in (near, far):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        requests = threading.Thread(target=pump, args=(near, far, asked.set), daemon=True)
        requests.start()
        pump(far, near, delay)
        requests.join()


def pump(source: socket.socket, sink: socket.socket, before: Callable[[], None]) -> None:
    """Pass on what comes, until one side ends."""
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    with suppress(OSError):
        while size := source.recv_into(buffer):
            before()
            sink.sendall(view[:size])
    for side in (source, sink):
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
