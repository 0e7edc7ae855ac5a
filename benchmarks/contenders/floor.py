"""The floor: a bare client of the store, without Kafka and without Faust.

``boto3`` in a pool of threads, or ``obstore``, with the settings that faust_s3's own stores
give their clients, and as many requests in flight. Nothing is verified on reading, and records
are done in any order.
"""

from __future__ import annotations

import asyncio
import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import count
from typing import Any

from benchmarks.job import Job, Trace, answer, at_once, until_over, wait_for_go
from benchmarks.records import KINDS, data_of
from faust_s3.stores import Location
from faust_s3.stores.obstore import ObstoreStore
from faust_s3.stores.s3 import S3Store
from faust_s3.stores.transfer import Body

SETTINGS: Any = {"region": "us-east-1", "path_style": True}


def main() -> None:
    """Do the job that this process is for."""
    job, trace = Job.given(), Trace()
    trace.watch_memory()
    asyncio.run({"boto3": by_threads, "obstore": by_tasks}[job.contender](job, trace))
    answer(trace)


# -- boto3


async def by_threads(job: Job, trace: Trace) -> None:
    """Let threads work, and leave the event loop to whoever watches it."""
    # Its client, so that pool, timeouts and checksums are the same.
    client = S3Store(endpoint_url=job.endpoint, **SETTINGS)._make_client()
    keys = await keys_of(job)
    numbers, taking = count(), threading.Lock()

    def work() -> None:
        while not trace.is_over(job):
            with taking:
                number = next(numbers)
            if number >= job.records:
                return
            one(client, job, keys, number)
            trace.record(number)

    await asyncio.to_thread(wait_for_go)
    threads = at_once(KINDS[job.kind])
    pool, loop = ThreadPoolExecutor(threads), asyncio.get_running_loop()
    await until_over(job, trace, [loop.run_in_executor(pool, work) for _ in range(threads)])


def one(client: Any, job: Job, keys: list[str], number: int) -> None:
    """Read, write, or read and write a record."""
    if job.mode == "produce":
        data = data_of(job.kind, number, job.salt)
    else:
        data = client.get_object(Bucket=job.bucket, Key=keys[number])["Body"].read()
    if job.mode != "consume":
        client.put_object(
            Bucket=job.target_bucket,
            Key=f"{job.target}/{number}",
            Body=Body(memoryview(data), lambda: None),  # sent without a copy, as ours
            ChecksumSHA256=b64encode(sha256(data).digest()).decode(),
        )


# -- obstore


async def by_tasks(job: Job, trace: Trace) -> None:
    """Let tasks work, on the event loop that is watched."""
    store = ObstoreStore(endpoint_url=job.endpoint, **SETTINGS)
    source = await store._client(Location(job.bucket, ""))
    target = await store._client(Location(job.target_bucket, ""))
    keys = await keys_of(job)
    numbers = iter(range(job.records))

    async def work() -> None:
        for number in numbers:
            if job.mode == "produce":
                data: Any = data_of(job.kind, number, job.salt)
            else:
                data = await (await source.get_async(keys[number])).buffer_async()
            if job.mode != "consume":
                await target.put_async(f"{job.target}/{number}", data, use_multipart=False)
            trace.record(number)
            if trace.is_over(job):
                return

    await asyncio.to_thread(wait_for_go)
    tasks = [asyncio.ensure_future(work()) for _ in range(at_once(KINDS[job.kind]))]
    await until_over(job, trace, tasks)


async def keys_of(job: Job) -> list[str]:
    """Return the names of the objects that faust_s3 has written for a topic."""
    if job.mode == "produce":
        return []
    store = S3Store(endpoint_url=job.endpoint, **SETTINGS)
    keys = [found.location.key async for found in store.list(job.bucket, f"faust_s3/{job.source}/")]
    await store.close()
    return keys


if __name__ == "__main__":
    main()
