"""Sends numbered records at a rate until SIGTERM; says which of them Kafka has.

Usage: feeder.py SEED RATE
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import faust
from aiokafka.errors import KafkaError
from faust.exceptions import FaustError
from payloads import KEYS, key_of, payload_of

from faust_s3 import S3, S3Error

#: Records that may wait for their turn. During an outage fewer come.
_BACKLOG = 40

app = faust.App("feeder", broker=os.environ["KAFKA_BROKER"], topic_disable_leader=True)
s3 = S3(app, threshold=100_000)
records = s3.offload(app.topic(os.environ["RECORDS"], value_type=bytes, value_serializer="raw"))


async def send(seed: int, number: int) -> None:
    """Send one record until Kafka has it."""
    payload = payload_of(seed, number)
    while True:
        try:
            await (
                await records.send(
                    key=key_of(number), value=payload, headers={"number": str(number).encode()}
                )
            )
        except (S3Error, FaustError, KafkaError) as exc:
            print(f"again {number} {exc!r}", flush=True)
            await asyncio.sleep(0.5)
        else:
            print(f"sent {number}", flush=True)
            return


async def send_in_order(seed: int, numbers: asyncio.Queue[int | None]) -> None:
    """Send the records of one key, one after the other."""
    while (number := await numbers.get()) is not None:
        await send(seed, number)


async def main(seed: int, rate: float) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    queues: list[asyncio.Queue[int | None]] = [asyncio.Queue() for _ in range(KEYS)]
    senders = [asyncio.ensure_future(send_in_order(seed, numbers)) for numbers in queues]
    stopped = asyncio.ensure_future(stopping.wait())
    number = 0
    while not stopping.is_set():
        if sum(queue.qsize() for queue in queues) < _BACKLOG:
            queues[number % KEYS].put_nowait(number)
            number += 1
        await asyncio.wait({stopped}, timeout=1 / rate)
    for queue in queues:
        queue.put_nowait(None)
    await asyncio.gather(*senders)
    await app.producer.flush()
    await app.producer.stop()
    await s3.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
