"""An HTTP server that misbehaves as it is told, in place of an S3 server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["Connection"], None]


class Connection(BaseHTTPRequestHandler):
    """One connection: every request on it gets the server's behaviour."""

    protocol_version = "HTTP/1.1"
    server: FaultServer
    body: bytes

    def _serve(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, dict(self.headers)))
        with suppress(ConnectionError):
            self.server.behaviour(self)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def start(self, status: int, length: int | None, **headers: str) -> None:
        """Send the head of an answer."""
        self.send_response(status)
        # obstore wants to see it on every object.
        self.send_header("Last-Modified", "Tue, 03 Nov 2026 10:00:00 GMT")
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.flush()

    def start_object(self, size: int) -> None:
        """Send the head of an object, or of the part of it that is asked for."""
        asked = self.headers.get("Range")
        if asked is None:
            self.start(200, size, ETag='"etag"')
            return
        first, last = map(int, asked.removeprefix("bytes=").split("-"))
        last = min(last, size - 1)
        part = f"bytes {first}-{last}/{size}"
        self.start(206, last - first + 1, ETag='"etag"', Content_Range=part)

    def log_message(self, *args: Any) -> None:
        pass


class FaultServer(ThreadingHTTPServer):
    """Answers on 127.0.0.1 until :meth:`stop`, which leaves no thread and no socket."""

    daemon_threads = False

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.behaviour = behaviour
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.stopping = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._sockets.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that hang up are what this is for

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self._thread.join()


def done(connection: Connection) -> None:
    """Answer that all is well, without a body."""
    connection.start(204, None)


def cut(connection: Connection) -> None:
    """Promise 1000 bytes, send 10 and hang up."""
    connection.start_object(1000)
    connection.wfile.write(b"x" * 10)
    connection.close_connection = True


def trickle(connection: Connection) -> None:
    """Send a byte of the body every 50 ms."""
    connection.start_object(100_000)
    while not connection.server.stopping.wait(0.05):
        connection.wfile.write(b"x")


def trickle_head(connection: Connection) -> None:
    """Send a byte of the head every 50 ms."""
    while not connection.server.stopping.wait(0.05):
        connection.wfile.write(b"H")


def without_length(connection: Connection) -> None:
    """Send a body that ends when the connection does, as some proxies do."""
    connection.start(200, None, Connection="close")
    connection.wfile.write(b"<html>log in here</html>")
    connection.close_connection = True


def without_ranges(connection: Connection) -> None:
    """Answer every request for a range with the whole object."""
    whole = b"x" * (6 * 2**20)
    connection.start(200, len(whole), ETag='"etag"')
    connection.wfile.write(whole)


def answering(status: int, body: bytes, **headers: str) -> Behaviour:
    """Answer whatever is asked."""

    def behave(connection: Connection) -> None:
        connection.start(status, len(body), **headers)
        connection.wfile.write(body)

    return behave


def refuse(status: int, code: str, **headers: str) -> Behaviour:
    """Answer with an error of S3's."""
    body = f"<Error><Code>{code}</Code><Message>as told</Message></Error>"
    return answering(status, body.encode(), **headers)


def redirect(connection: Connection) -> None:
    """Send everybody to a page to log in, and there show it."""
    there = connection.path == "/login"
    (page if there else answering(302, b"", Location="/login"))(connection)


#: A page for people where XML is due.
page = answering(200, b"<html><p>log in here")
