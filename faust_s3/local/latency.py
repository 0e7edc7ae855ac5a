"""A proxy that makes a near server far: every answer comes later by a chosen time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

__all__ = ["LatencyProxy"]

T = TypeVar("T")

_CHUNK = 256 * 1024


class LatencyProxy:
    """Forwards TCP to a server and delays each answer, without limiting throughput.

    It runs on an event loop in a thread of its own.

    Args:
        endpoint_url: The server, like ``http://127.0.0.1:8333``.
        latency: Seconds to add between a request and the first byte of its answer.

    Example:
        >>> with LatencyProxy(stack.endpoint_url, latency=0.03) as proxy:
        ...     S3(app, "s3://bucket", endpoint_url=proxy.endpoint_url)
    """

    def __init__(self, endpoint_url: str, *, latency: float) -> None:
        server = urlsplit(endpoint_url)
        self._host, self._port = server.hostname or "127.0.0.1", server.port or 80
        self.latency = latency
        self.endpoint_url = ""
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="latency-proxy")

    def start(self) -> None:
        """Listen on a free port of 127.0.0.1, which ``endpoint_url`` then names."""
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._accept, "127.0.0.1", 0))
        port = self._server.sockets[0].getsockname()[1]
        self.endpoint_url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        """Close all connections and stop."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> LatencyProxy:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _call(self, coro: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coro, self._loop).result()

    async def _close(self) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with suppress(ConnectionError, asyncio.CancelledError):
            await self._forward(reader, writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = asyncio.Event()
        try:
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.close()
            return

        async def requests() -> None:
            while data := await reader.read(_CHUNK):
                asked.set()
                far_writer.write(data)
                await far_writer.drain()

        async def answers() -> None:
            while data := await far_reader.read(_CHUNK):
                if asked.is_set():
                    asked.clear()
                    await asyncio.sleep(self.latency)
                writer.write(data)
                await writer.drain()

        directions = {asyncio.ensure_future(requests()), asyncio.ensure_future(answers())}
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            for end in (writer, far_writer):
                end.close()
