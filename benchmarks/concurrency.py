"""Requests per second with fixed numbers in flight, and with one that finds its level.

    python benchmarks/concurrency.py [--engine boto3] [--seconds 5] [--rounds 3] [--size 65536]
    python benchmarks/concurrency.py --engine none

For each latency of the store and each setting, a pipeline puts and gets payloads for some
seconds, always as many at a time as it takes, in turns and several rounds. The first part of
the time, in which connections are opened and the level is found, does not count.

``--engine none`` has no server, but a store in memory that takes the latency, and then does
`RATE` requests in a second, one after the other, as a busy processor would. What it shows does
not depend on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any, Final

import boto3

from faust_s3.config import DEFAULT_CONCURRENCY, Config
from faust_s3.engines import open_store
from faust_s3.local import LatencyProxy, SeaweedFS
from faust_s3.pipeline import Pipeline
from faust_s3.stores import Location, MemoryStore, Store

LATENCIES: Final = (0.0, 0.010, 0.030, 0.100)
#: Name: settings.
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    **{str(n): {"concurrency": n} for n in (8, 32, 128)},
    "4 to 128": {"concurrency": 128, "min_concurrency": 4},
}
WARM_UP: Final = 3.0  # s
#: Requests per second of the store without a server.
RATE: Final = 600
#: Callers that ask at the same time: more than any setting lets through.
CALLERS: Final = 192


class SlowStore(MemoryStore):
    """A store with a latency, and one processor."""

    def __init__(self, latency: float) -> None:
        super().__init__()
        self._latency = latency
        self._free = 0.0

    async def put(self, location: Location, data: bytes, *, sha256: bytes | None = None) -> None:
        await self._work()
        await super().put(location, data)

    async def get(self, location: Location, *, max_size: int) -> bytes:
        await self._work()
        return await super().get(location, max_size=max_size)

    async def _work(self) -> None:
        await asyncio.sleep(self._latency)
        now = perf_counter()
        self._free = max(self._free, now) + 1 / RATE
        await asyncio.sleep(self._free - now)


async def rate(work: Callable[[int], Awaitable[Any]], seconds: float) -> float:
    """Return how often work was done per second."""
    started, ended, numbers = perf_counter(), [], iter(range(10**9))

    async def caller() -> None:
        while perf_counter() < started + WARM_UP + seconds:
            await work(next(numbers))
            ended.append(perf_counter())

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    counted = [at for at in ended if started + WARM_UP <= at < started + WARM_UP + seconds]
    return len(counted) / seconds


async def measure(config: Config, store: Store, size: int, seconds: float) -> tuple[float, float]:
    """Return puts and gets per second."""
    pipeline = Pipeline(config, store)
    noise = random.Random(size).randbytes(size - 8)
    claims: list[bytes] = []

    async def put(number: int) -> None:
        payload = noise + number.to_bytes(8, "big")
        claims.append(await pipeline.offload(payload, topic="photos"))

    async def get(number: int) -> None:
        await pipeline.rehydrate(claims[number % len(claims)])

    try:
        return await rate(put, seconds), await rate(get, seconds)
    finally:
        await store.close()


def run(options: argparse.Namespace) -> None:
    """Measure, and print a table."""
    found: dict[tuple[float, str], list[tuple[float, float]]] = {}
    with ExitStack() as stack:
        server = None if options.engine == "none" else stack.enter_context(SeaweedFS())
        for number in range(options.rounds):
            for latency in options.latencies:
                with proxy(server, latency) as endpoint_url:
                    for name, settings in SETTINGS.items():
                        where = f"{number}-{latency}-{name}".replace(" ", "-")
                        more = {**settings, "threshold": 0, "cache_bytes": 0, "dedup_window": 0}
                        if server is None:
                            config = Config(url="s3://bucket", **more)
                            store: Store = SlowStore(latency)
                        else:
                            config = Config(
                                url=f"s3://{server.bucket}/{where}",
                                region=server.region,
                                endpoint_url=endpoint_url,
                                path_style=True,
                                engine=options.engine,
                                **more,
                            )
                            keys = server.keys
                            session = boto3.Session(keys.access_key, keys.secret_key)
                            store = open_store(config, session)
                        rates = asyncio.run(measure(config, store, options.size, options.seconds))
                        found.setdefault((latency, name), []).append(rates)
                        say(f"round {number + 1}: {latency * 1000:g} ms, {name}: {rates}")
    show(found, options)


@contextmanager
def proxy(server: SeaweedFS | None, latency: float) -> Iterator[str]:
    """Run the proxy in a process of its own, or it would share our interpreter lock."""
    if server is None:
        yield ""
        return
    command = [sys.executable, __file__, "--proxy", server.endpoint_url, str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGINT)


def show(found: dict[tuple[float, str], list[tuple[float, float]]], options: Any) -> None:
    """Print medians, and their ratio to the default's."""
    print(
        f"{options.engine}, payloads of {options.size} bytes, {options.rounds} rounds: requests "
        f"per second (of fixed {DEFAULT_CONCURRENCY})"
    )
    for side, word in enumerate(("put", "get")):
        print(f"\n{word:12}", *(f"{latency * 1000:>10g} ms    " for latency in options.latencies))
        for name in SETTINGS:
            line = f"{name:12}"
            for latency in options.latencies:
                median, default = (
                    statistics.median(rates[side] for rates in found[latency, key])
                    for key in (name, str(DEFAULT_CONCURRENCY))
                )
                line += f" {median:9.1f} ({median / default:4.2f})"
            print(line)


def say(what: str) -> None:
    """Show that it goes on."""
    print(what, file=sys.stderr, flush=True)


def serve(endpoint_url: str, latency: float) -> None:
    """Be the proxy, until interrupted."""
    with LatencyProxy(endpoint_url, latency=latency) as proxy:
        print(proxy.endpoint_url, flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            os._exit(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fixed numbers of requests in flight, and found.")
    parser.add_argument("--engine", choices=("boto3", "obstore", "none"), default="boto3")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=64 * 1024, help="bytes of a payload")
    parser.add_argument("--latencies", type=float, nargs="+", default=LATENCIES, help="seconds")
    parser.add_argument("--proxy", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.proxy:
        serve(chosen.proxy[0], float(chosen.proxy[1]))
    else:
        run(chosen)
