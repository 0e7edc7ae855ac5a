"""Peak memory for one record, as a multiple of its size, to send and to receive. Linux only.

    python benchmarks/memory.py [--size 16777216]

The record itself is not counted when it is sent, since whoever sends it has it, and is counted
when it is received. "allocated" is the peak of what Python allocated (``tracemalloc``); "resident"
that of the whole process (``VmHWM``), which counts what obstore and the compressors hold outside
Python, too. For that, glibc is told to give back at once what is large and free
(``MALLOC_MMAP_THRESHOLD_``); as it comes it keeps some of it, and uses it again.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import sys
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import boto3
from faust.serializers import codecs

from faust_s3 import S3
from faust_s3.local import SeaweedFS

MIB = 2**20
ENGINES = ("boto3", "obstore")
#: Name: what is sent of so many random bytes, and how it is compressed.
RECORDS: dict[str, tuple[Callable[[bytes], bytes], str | None]] = {
    "as it is": (lambda noise: noise, None),
    "gzip, no smaller": (lambda noise: noise, "gzip"),
    "gzip, to 57 %": (lambda noise: noise[::2].hex().encode(), "gzip"),
    "zstd, no smaller": (lambda noise: noise, "zstd"),
    "zstd, to 50 %": (lambda noise: noise[::2].hex().encode(), "zstd"),
}


def status(name: str) -> int:
    """Return one of the kernel's figures on this process, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


async def allocated(work: Callable[[], Awaitable[Any]]) -> tuple[int, Any]:
    """Return the most bytes that Python had allocated at a time, and the result."""
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    result = await work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - before, result


async def resident(work: Callable[[], Awaitable[Any]]) -> tuple[int, Any]:
    """Return the most bytes by which the process grew, and the result."""
    gc.collect()
    reset_peak()
    before = status("VmRSS")
    result = await work()
    return status("VmHWM") - before, result


def reset_peak() -> None:
    """Have ``VmHWM`` begin anew; see proc(5)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


async def both(work: Callable[[], Awaitable[Any]], size: int) -> tuple[str, Any]:
    """Return both figures as multiples of a size, and the result."""
    inside, _ = await allocated(work)
    whole, result = await resident(work)
    return f"{inside / size:10.2f} {whole / size:9.2f}", result


async def measure(s3: S3, payload: bytes) -> str:
    """Send and receive one payload."""
    pipeline = s3.pipeline
    await pipeline.rehydrate(await pipeline.offload(bytes(MIB), topic="warm-up"))
    sent, data = await both(lambda: pipeline.offload(payload, topic="photos"), len(payload))
    got, whole = await both(lambda: pipeline.rehydrate(data), len(payload))
    assert whole == payload
    return f"{sent}   {got}"


async def measure_json(s3: S3, text: str) -> str:
    """Serialize and load a value beside that, as Faust does."""
    codec: Any = codecs.get_codec("json") | s3.codec

    async def dumped() -> bytes:
        return bytes(await asyncio.to_thread(codec.dumps, {"text": text}))

    async def loaded() -> Any:
        return await asyncio.to_thread(codec.loads, data)

    sent, data = await both(dumped, len(text))
    got, value = await both(loaded, len(text))
    assert value == {"text": text}
    return f"{sent}   {got}"


async def compare(server: SeaweedFS, size: int) -> None:
    """Print the table."""
    session = boto3.Session(server.keys.access_key, server.keys.secret_key)
    noise = random.Random(size).randbytes(size)
    print(f"{size / MIB:.0f} MiB; multiples of that     sent: allocated, resident   received: both")
    for engine in ENGINES:
        for name, (make, compression) in RECORDS.items():
            s3 = S3(
                None,
                f"s3://{server.bucket}/memory",
                name="memory",
                session=session,
                region=server.region,
                endpoint_url=server.endpoint_url,
                path_style=True,
                engine=engine,
                compression=compression,
                cache_bytes=0,
            )
            line = await measure(s3, make(noise))
            print(f"{engine:8} {name:24} {line}", flush=True)
            if compression is None:
                line = await measure_json(s3, noise[::2].hex())
                print(f"{engine:8} {'in JSON':24} {line}", flush=True)
            await s3.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Peak memory for one record.")
    parser.add_argument("--size", type=int, default=16 * MIB, help="bytes of the record")
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:  # glibc reads it as the process starts
        os.environ["MALLOC_MMAP_THRESHOLD_"] = str(MIB // 4)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    with SeaweedFS() as running:
        asyncio.run(compare(running, parser.parse_args().size))
