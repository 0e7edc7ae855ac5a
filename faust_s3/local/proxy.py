"""What proxies in front of a server have in common: a thread, a port, their connections."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from faust_s3.local.ports import free_ports

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CHUNK", "Proxy"]

T = TypeVar("T")

#: The most bytes that are passed on at a time.
CHUNK: Final = 256 * 1024
#: Turns of the event loop until whoever was accepted last has a task.
_TURNS: Final = 5


class Proxy(ABC):
    """Stands in front of a server, on an event loop in a thread of its own.

    Args:
        host: The server's host.
        port: The server's port.
        listen: The proxy's own port on 127.0.0.1. None: any that is free.

    Attributes:
        listen: The same.
    """

    def __init__(self, host: str, port: int, *, listen: int | None = None) -> None:
        self.host = host
        self.port = port
        self.listen = free_ports(1)[0] if listen is None else listen
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="faust-s3-proxy")

    @abstractmethod
    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends; `ConnectionError` and `EOFError` end it, too."""

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()
        self.call(self._open())

    def stop(self) -> None:
        """Close all connections and stop."""
        self.call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def call(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run something on the proxy's event loop, from another thread, and wait for it."""
        return asyncio.run_coroutine_threadsafe(coro, self._loop).result()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the server.

        Raises:
            ConnectionError: If it is not there.
        """
        return await asyncio.open_connection(self.host, self.port)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.listen)

    async def _close(self) -> None:
        if self._server is not None:
            # asyncio loses the connections that it is about to accept.
            for listener in self._server.sockets:
                self._loop.remove_reader(listener.fileno())
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            self._server.close()
            self._server = None
        tasks = dict(self._tasks)
        for task, writer in tasks.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # sockets are closed in the next turn

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = writer
        try:
            with suppress(ConnectionError, EOFError, asyncio.CancelledError):
                await self.forward(reader, writer)
        finally:
            del self._tasks[task]
            writer.close()
