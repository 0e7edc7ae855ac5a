"""A Faust app, the same for each package that it offloads with, and for plain Faust.

Its values are bytes, or text where a codec alone is to offload them: Faust gives no bytes to
codecs. The settings of faust_s3 are the defaults, but for a threshold below the records.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import Any, Final

import faust
from faust.serializers import codecs

from benchmarks.job import Job, Trace, answer, at_once, until_over, wait_for_go
from benchmarks.records import KINDS, SMALL, data_of, number_of, text_of

#: Those whose work a codec does, on the event loop.
CODECS: Final = ("flms", "codec boto3")
#: Bytes that plain Faust's topics are set to; those of others keep Kafka's default, 1 MiB.
PLAIN_LIMIT = 32 * 1024 * 1024


def main() -> None:
    """Do the job that this process is for."""
    asyncio.run(work(Job.given(), Trace()))


def app_for(job: Job) -> faust.App:
    """Return the app, with Faust's settings unless plain Faust needs others for the records."""
    large: dict[str, Any] = {
        "producer_max_request_size": PLAIN_LIMIT,
        "consumer_max_fetch_size": PLAIN_LIMIT,
    }
    return faust.App(
        f"bench-{job.salt}",
        broker=f"kafka://{job.bootstrap}",
        consumer_auto_offset_reset="earliest",
        datadir=job.scratch,
        topic_disable_leader=True,
        web_enabled=False,
        **(large if job.contender == "plain" and job.kind != SMALL else {}),
    )


def serializer(job: Job, topic: str, *, bucket: str) -> Any:
    """Return faust-large-message-serializer's codec for a topic."""
    from faust_large_message_serializer import (
        LargeMessageSerializer,
        LargeMessageSerializerConfig,
    )

    config = LargeMessageSerializerConfig(
        base_path=f"s3://{bucket}/flms",
        max_size=job.threshold,
        large_message_s3_access_key=os.environ["AWS_ACCESS_KEY_ID"],
        large_message_s3_secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        large_message_s3_region=os.environ["AWS_DEFAULT_REGION"],
        large_message_s3_endpoint=job.endpoint,
    )
    return LargeMessageSerializer(topic, config)


def ours(job: Job, app: faust.App) -> Any:
    """Return the ``S3`` of the app, or one without it, whose codec does all by itself."""
    from faust_s3 import S3

    return S3(
        None if job.contender in CODECS else app,
        f"s3://{job.target_bucket}/faust_s3",
        allow=[f"s3://{job.bucket}/faust_s3"],
        engine=job.contender.rpartition(" ")[2],
        threshold=job.threshold,
        endpoint_url=job.endpoint,
        path_style=True,
    )


def topics(job: Job, app: faust.App) -> tuple[Any, Any]:
    """Return the topics that are read and written."""
    sides = ((job.source, job.bucket), (job.target, job.target_bucket))
    s3 = None if job.contender in ("flms", "plain") else ours(job, app)

    def topic(name: str, bucket: str) -> Any:
        if job.contender in CODECS:
            codec = s3.codec_for(name) if s3 else serializer(job, name, bucket=bucket)
            chain = codecs.get_codec("raw") | codec
            return app.topic(name, value_type=str, value_serializer=chain)
        plain = app.topic(name, value_type=bytes, value_serializer="raw")
        return s3.offload(plain) if s3 else plain

    source, target = (topic(*side) for side in sides)
    return source, target


async def work(job: Job, trace: Trace) -> None:
    """Send or read until the time is over."""
    trace.watch_memory()
    app = app_for(job)
    source, target = topics(job, app)
    if job.mode == "produce":
        await produce(job, trace, target)
        if not job.seconds:
            await app.producer.flush()  # others are to read it
    else:
        await run(job, trace, app, source, target)
    answer(trace)


async def produce(job: Job, trace: Trace, target: Any) -> None:
    """Send from tasks, twice as many as there may be requests in flight."""
    numbers = iter(range(job.records))
    make = text_of if job.contender in CODECS else data_of

    async def send() -> None:
        for number in numbers:
            # Done when the producer has it, which takes no more than it can send. A codec that
            # blocks lets the event loop see no acknowledgement until all is sent.
            await target.send(value=make(job.kind, number, job.salt))
            trace.record(number)
            if trace.is_over(job):
                return

    await asyncio.to_thread(wait_for_go)
    tasks = [asyncio.ensure_future(send()) for _ in range(2 * at_once(KINDS[job.kind]))]
    await until_over(job, trace, tasks)


async def run(job: Job, trace: Trace, app: faust.App, source: Any, target: Any) -> None:
    """Read with an agent, and send on what it reads if that is asked for."""
    opened = False

    async def gate() -> None:
        nonlocal opened
        if not opened:
            await asyncio.to_thread(wait_for_go)
            opened = True

    if job.mode == "process":

        @app.agent(source)
        async def process(stream: Any) -> None:
            async for value in stream:
                await gate()
                sent = await target.send(value=value)
                sent.add_done_callback(partial(arrived, trace, number_of(value)))

    else:

        @app.agent(source)
        async def read(stream: Any) -> None:
            async for value in stream:
                await gate()
                trace.record(number_of(value))

    await app.start()
    await until_over(job, trace)


def arrived(trace: Trace, number: int, sent: asyncio.Future[Any]) -> None:
    """Note that Kafka has a record."""
    sent.result()
    trace.record(number)


if __name__ == "__main__":
    main()
