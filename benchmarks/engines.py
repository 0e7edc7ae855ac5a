"""CPU of this process for one request, by each engine in turn, on the local S3 server."""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import statistics
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import boto3

from faust_s3.local import SeaweedFS
from faust_s3.stores import Location, Store
from faust_s3.stores.obstore import ObstoreStore
from faust_s3.stores.s3 import S3Store

SIZES = {16 * 1024: 300, 256 * 1024: 200, 1024 * 1024: 100}  # bytes: requests
AT_ONCE = 16
ENGINES: dict[str, Callable[..., Store]] = {"boto3": S3Store, "obstore": ObstoreStore}


def cpu() -> float:
    """Return the seconds of CPU that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def each(count: int, request: Callable[[int], Awaitable[Any]]) -> float:
    """Return the milliseconds of CPU per request."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with slots:
            await request(number)

    before = cpu()
    await asyncio.gather(*(one(number) for number in range(count)))
    return (cpu() - before) / count * 1000


async def measure(store: Store, bucket: str, size: int, count: int) -> tuple[float, float]:
    """Return the milliseconds of CPU of a put and of a get."""
    data = random.Random(size).randbytes(size)
    digest = sha256(data).digest()
    await store.put(Location(bucket, "first"), b"opens the store")
    put = await each(count, lambda n: store.put(Location(bucket, f"{n}"), data, sha256=digest))
    get = await each(count, lambda n: store.get(Location(bucket, f"{n}"), max_size=size))
    await store.close()
    return put, get


async def compare(server: SeaweedFS, rounds: int) -> None:
    """Print medians and ratios."""
    settings = {
        "session": boto3.Session(server.keys.access_key, server.keys.secret_key),
        "region": server.region,
        "endpoint_url": server.endpoint_url,
        "path_style": True,
    }
    print("bytes    put: boto3  obstore  ratio   get: boto3  obstore  ratio   (ms of CPU)")
    for size, count in SIZES.items():
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ENGINES}
        for number in range(rounds + 1):
            for name, make in ENGINES.items():
                figures = await measure(make(**settings), server.bucket, size, count)
                if number:  # the first round only warms up
                    found[name].append(figures)
        line = f"{size:<8}"
        for side in (0, 1):
            one, other = (
                statistics.median(figures[side] for figures in found[name]) for name in ENGINES
            )
            line += f"      {one:6.2f}   {other:6.2f}   {other / one:4.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    with SeaweedFS() as running:
        asyncio.run(compare(running, parser.parse_args().rounds))
