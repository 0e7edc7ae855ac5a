"""A program that sends without ``faust worker``: python sending_program.py WHERE."""

from __future__ import annotations

import asyncio
import sys

from faust.contrib.asgi import faust_app_running
from sending_ways import app, notes, s3, send_all


async def left_behind(where: str) -> None:
    for size in (5000, 10):
        notes.send_soon(value="x" * size, headers={"id": f"{where}/left_behind/{size}".encode()})


async def unstarted(where: str) -> None:
    """As a script: nothing is started."""
    await send_all(where)
    await left_behind(where)
    await app.producer.flush()
    await app.producer.stop()
    await s3.close()


async def client(where: str) -> None:
    """As an RPC client."""
    await app.start_client()
    await send_all(where)
    await left_behind(where)
    await app.stop()


async def producer_only(where: str) -> None:
    app.producer_only = True
    await app.start()
    await send_all(where)
    await left_behind(where)
    await app.stop()


async def lifespan(where: str) -> None:
    """As FastAPI's ``lifespan=faust_lifespan(app)`` does."""
    async with faust_app_running(app):
        await send_all(where)
        await left_behind(where)


if __name__ == "__main__":
    asyncio.run(globals()[sys.argv[1]](sys.argv[1]))
