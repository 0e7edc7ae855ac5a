"""Heads and bodies of HTTP/1.1, as far as a proxy has to know where they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

_PIECE = 64 * 1024


@dataclass(frozen=True)
class Head:
    """The first lines of a request or an answer.

    Attributes:
        raw: Their bytes, with the empty line.
        start: The first line.
        fields: The others, by lower-case name.
    """

    raw: bytes
    start: str
    fields: dict[str, str]

    @property
    def method(self) -> str:
        """Of a request."""
        return self.start.split(" ", 1)[0]

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.start.split(" ", 2)[1])

    @property
    def length(self) -> int | None:
        """Bytes of the body, if it says so."""
        return int(self.fields["content-length"]) if "content-length" in self.fields else None

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks that say how long they are."""
        return "chunked" in self.fields.get("transfer-encoding", "")

    @property
    def keeps_alive(self) -> bool:
        """Whether another message may follow."""
        return self.fields.get("connection", "").lower() != "close"

    @property
    def expects(self) -> bool:
        """Whether the body comes only when asked for."""
        return "expect" in self.fields


async def read_head(reader: asyncio.StreamReader) -> Head:
    """Read the head of a message.

    Raises:
        EOFError: If the connection ends before.
    """
    raw = await reader.readuntil(b"\r\n\r\n")
    start, *lines = raw.decode("latin-1").strip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Head(raw, start, {name.lower(): value.strip() for name, _, value in pairs})


async def body(reader: asyncio.StreamReader, head: Head) -> AsyncIterator[bytes]:
    """Yield the body of a message as it is on the wire, in pieces.

    Only an answer may have neither a length nor chunks; it ends when the connection does.

    Raises:
        EOFError: If the connection ends before the body.
    """
    if head.chunked:
        async for piece in _chunks(reader):
            yield piece
    elif (left := head.length) is not None:
        while left:
            piece = await reader.read(min(left, _PIECE))
            if not piece:
                raise EOFError("the connection ends before the body")
            left -= len(piece)
            yield piece
    elif head.start.startswith("HTTP/"):
        while piece := await reader.read(_PIECE):
            yield piece


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    size = -1
    while size:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        yield line
        if size:
            yield await reader.readexactly(size + 2)
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        yield line
    yield line
