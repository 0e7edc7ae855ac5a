"""A proxy that makes a near server far: every answer comes later by a chosen time."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from faust_s3.local.proxy import CHUNK, Proxy

__all__ = ["LatencyProxy"]


class LatencyProxy(Proxy):
    """Forwards TCP to a server and delays each answer, without limiting throughput.

    It runs on an event loop in a thread of its own.

    Args:
        endpoint_url: The server, like ``http://127.0.0.1:8333``.
        latency: Seconds to add between a request and the first byte of its answer.

    Attributes:
        endpoint_url: Where the proxy listens: a free port of 127.0.0.1.

    Example:
        >>> with LatencyProxy(stack.endpoint_url, latency=0.03) as proxy:
        ...     S3(app, "s3://bucket", endpoint_url=proxy.endpoint_url)
    """

    def __init__(self, endpoint_url: str, *, latency: float) -> None:
        server = urlsplit(endpoint_url)
        super().__init__(server.hostname or "127.0.0.1", server.port or 80)
        self.latency = latency
        self.endpoint_url = f"http://127.0.0.1:{self.listen}"

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes from either side."""
        far_reader, far_writer = await self.connect()
        asked = asyncio.Event()

        async def requests() -> None:
            while data := await reader.read(CHUNK):
                asked.set()
                far_writer.write(data)
                await far_writer.drain()

        async def answers() -> None:
            while data := await far_reader.read(CHUNK):
                if asked.is_set():
                    asked.clear()
                    await asyncio.sleep(self.latency)
                writer.write(data)
                await writer.drain()

        directions = {asyncio.ensure_future(requests()), asyncio.ensure_future(answers())}
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            far_writer.close()
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
