"""TLS in front of a server that has none."""

from __future__ import annotations

import asyncio
import ssl

from faust_s3.local.proxy import CHUNK, Proxy


class TLS(Proxy):
    """Takes the encryption off what goes to the server.

    Args:
        port: The server's port on 127.0.0.1.
        certificate: Of the proxy.
    """

    def __init__(self, port: int, certificate: ssl.SSLContext) -> None:
        super().__init__("127.0.0.1", port)
        self._certificate = certificate

    async def _open(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.listen, ssl=self._certificate
        )

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await self.connect()
        try:
            await asyncio.gather(_pump(reader, requests), _pump(answers, writer))
        finally:
            requests.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.close()
