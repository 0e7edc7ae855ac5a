"""kaf-s3-connector's producer and consumer: confluent-kafka and boto3, one request at a time."""

from __future__ import annotations

import time
from itertools import count
from typing import Any

from s3_connector import S3Consumer, S3Producer

from benchmarks.job import Job, Trace, answer, wait_for_go
from benchmarks.records import data_of, number_of


def main() -> None:
    """Do the job that this process is for."""
    job, trace = Job.given(), Trace()
    trace.watch_memory()
    {"produce": produce, "consume": consume, "process": process}[job.mode](job, trace)
    answer(trace)


def producer(job: Job, trace: Trace) -> Any:
    """Return a producer that notes what Kafka has."""
    numbers = count()

    def measured(event: str, data: Any) -> None:
        if event == "produce_delivered":
            trace.record(next(numbers))

    return S3Producer(
        {
            "kafka": {"bootstrap.servers": job.bootstrap},
            "s3": s3(job, job.target_bucket),
            "hooks": {"metrics": measured},
        }
    )


def consumer(job: Job) -> Any:
    """Return a consumer of the source."""
    made = S3Consumer(
        {
            "kafka": {
                "bootstrap.servers": job.bootstrap,
                "group.id": f"bench-{job.salt}",
                "auto.offset.reset": "earliest",
            },
            "s3": s3(job, job.bucket),
        }
    )
    made.subscribe([job.source])
    return made


def s3(job: Job, bucket: str) -> dict[str, object]:
    """Return its settings for a bucket."""
    return {
        "bucket": bucket,
        "prefix": "kaf-s3",
        "region_name": "us-east-1",
        "endpoint_url": job.endpoint,
        "max_inline_bytes": job.threshold,
    }


def produce(job: Job, trace: Trace) -> None:
    """Send one after the other: its producer is not thread-safe."""
    to = producer(job, trace)
    wait_for_go()
    for number in range(job.records):
        to.produce(job.target, data_of(job.kind, number, job.salt))
        if trace.is_over(job):
            return
    to.flush()
    while not trace.is_over(job):
        time.sleep(0.01)


def consume(job: Job, trace: Trace) -> None:
    """Read."""
    for number, _ in received(job, trace):
        trace.record(number)


def process(job: Job, trace: Trace) -> None:
    """Send on what is read."""
    to = producer(job, trace)
    for _, payload in received(job, trace):
        to.produce(job.target, payload)


def received(job: Job, trace: Trace) -> Any:
    """Yield what is read until the time is over; begin when all are ready."""
    source, opened = consumer(job), False
    while not trace.is_over(job):
        payload = source.poll(1.0)
        if payload is not None:
            if not opened:
                wait_for_go()
                opened = True
            yield number_of(payload), payload


if __name__ == "__main__":
    main()
