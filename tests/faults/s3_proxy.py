"""A proxy in front of an S3 server, which knows requests and answers from each other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from injected import Answer, Fault, FaultProxy, Reset, Slow, Trickle, Truncated, WrongBytes, reset
from messages import Head, body, read_head

_BODYLESS = frozenset({204, 304})
#: A reset overtakes what was sent before it, unless that has had time to be read.
_BEFORE_RESET = 0.05


class S3Proxy(FaultProxy):
    """Forwards HTTP/1.1 to a server, as the fault of the moment has it.

    A request suffers the fault that there was when it came. Bodies go up and down, and
    faults of bodies befall whichever a request has.

    Args:
        endpoint_url: The server, like ``http://127.0.0.1:8333``.
        seed: For jitter and for which requests are in a share.

    Attributes:
        endpoint_url: Where the proxy listens.
        requests: How many came.
    """

    def __init__(self, endpoint_url: str, *, seed: int = 4) -> None:
        server = urlsplit(endpoint_url)
        super().__init__(server.hostname or "127.0.0.1", server.port or 80)
        self.endpoint_url = f"http://127.0.0.1:{self.listen}"
        self.requests = 0
        self.random = random.Random(seed)

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the requests of one connection."""
        connection = _Connection(self, reader, writer)
        try:
            while await connection.serve():
                pass
        finally:
            connection.close()


class _Connection:
    """A client, and the connection to the server that is its own."""

    def __init__(
        self, proxy: S3Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def close(self) -> None:
        """Close the one to the server; the client's is the proxy's to close."""
        if self._server is not None:
            self._server[1].close()

    async def serve(self) -> bool:
        """Serve a request, and tell whether another may follow."""
        request = await read_head(self._reader)
        proxy, fault = self._proxy, self._proxy.fault
        proxy.requests += 1
        if isinstance(fault, Answer):
            if proxy.random.random() >= fault.share:
                return await self._pass_on(request, Fault())
            proxy.injected += 1
            return await self._refuse(request, fault)
        proxy.injected += type(fault) is not Fault
        await proxy.not_in_a_hole()
        return await self._pass_on(request, fault)

    async def _refuse(self, request: Head, fault: Answer) -> bool:
        if not request.expects:
            async for _ in body(self._reader, request):
                pass
        text = f"<Error><Code>{fault.code}</Code><Message>as told</Message></Error>"
        content = b"" if request.method == "HEAD" else text.encode()
        self._writer.write(
            f"HTTP/1.1 {fault.status} {fault.code}\r\nContent-Type: application/xml\r\n"
            f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
            + content
        )
        await self._writer.drain()
        return False

    async def _pass_on(self, request: Head, fault: Fault) -> bool:
        if self._server is None:
            self._server = await self._proxy.connect()
        reader, writer = self._server
        writer.write(request.raw)
        upload = asyncio.ensure_future(self._upload(request, fault, writer))
        answering = asyncio.ensure_future(self._answer(request, fault, reader))
        both = {upload, answering}
        try:
            # Either may fail first, and an answer may come before the body is wanted.
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                upload.result()
            keeps_alive = await answering
            whole = upload.done()
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        return whole and keeps_alive and request.keeps_alive

    async def _upload(self, request: Head, fault: Fault, writer: asyncio.StreamWriter) -> None:
        if request.chunked or request.length:
            await self._relay(request, body(self._reader, request), fault, writer)

    async def _answer(self, request: Head, fault: Fault, reader: asyncio.StreamReader) -> bool:
        answer = await read_head(reader)
        while answer.status < 200:
            self._writer.write(answer.raw)
            answer = await read_head(reader)
        await self._proxy.not_in_a_hole()
        if isinstance(fault, Slow):
            await asyncio.sleep(fault.latency + self._proxy.random.uniform(0, fault.jitter))
        self._writer.write(answer.raw)
        if request.method != "HEAD" and answer.status not in _BODYLESS:
            await self._relay(answer, body(reader, answer), fault, self._writer)
        await self._writer.drain()
        framed = request.method == "HEAD" or answer.chunked or answer.length is not None
        return answer.keeps_alive and (framed or answer.status in _BODYLESS)

    async def _relay(
        self,
        head: Head,
        pieces: AsyncIterator[bytes],
        fault: Fault,
        writer: asyncio.StreamWriter,
    ) -> None:
        passed, size = 0, head.length or 0
        async for piece in pieces:
            await self._proxy.not_in_a_hole()
            if isinstance(fault, Reset | Truncated) and passed + len(piece) > size // 2:
                writer.write(piece[: size // 2 - passed])
                await self._break_off(fault)
            elif isinstance(fault, WrongBytes) and not head.chunked:
                middle = len(piece) // 2
                flipped = bytes([piece[middle] ^ 0xFF])
                writer.write(piece[:middle] + flipped + piece[middle + 1 :])
            elif isinstance(fault, Trickle):
                await self._trickle(piece, fault, writer)
            else:
                writer.write(piece)
            passed += len(piece)
            await writer.drain()

    async def _break_off(self, fault: Fault) -> None:
        await self._writer.drain()
        if isinstance(fault, Reset):
            await asyncio.sleep(_BEFORE_RESET)
            reset(self._writer)
        raise ConnectionAbortedError("as told")

    async def _trickle(self, piece: bytes, fault: Trickle, writer: asyncio.StreamWriter) -> None:
        for at in range(len(piece)):
            if self._proxy.fault is not fault:
                writer.write(piece[at:])
                return
            writer.write(piece[at : at + 1])
            await writer.drain()  # or nobody notices that the other side has gone
            await asyncio.sleep(fault.interval)
