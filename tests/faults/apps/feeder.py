"""Sends an app's numbered records at a rate until SIGTERM; says which of them Kafka has.

Usage: ``python -m feeder APP SEED RATE``
"""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys
from typing import Any

from aiokafka.errors import KafkaError
from faust.exceptions import FaustError
from payloads import KEYS, key_of, payload_of

from faust_s3 import S3Error

#: Records that may wait for their turn. During an outage fewer come.
_BACKLOG = 40


async def send(of: Any, seed: int, number: int) -> None:
    """Send one record until Kafka has it."""
    value = of.encoded(payload_of(seed, number))
    headers = {"number": str(number).encode()}
    while True:
        try:
            await (await of.records.send(key=key_of(number), value=value, headers=headers))
        except (S3Error, FaustError, KafkaError) as exc:
            print(f"again {number} {exc!r}", flush=True)
            await asyncio.sleep(0.5)
        else:
            print(f"sent {number}", flush=True)
            return


async def send_in_order(of: Any, seed: int, numbers: asyncio.Queue[int | None]) -> None:
    """Send the records of one key, one after the other."""
    while (number := await numbers.get()) is not None:
        await send(of, seed, number)


async def main(of: Any, seed: int, rate: float) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    queues: list[asyncio.Queue[int | None]] = [asyncio.Queue() for _ in range(KEYS)]
    senders = [asyncio.ensure_future(send_in_order(of, seed, numbers)) for numbers in queues]
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
    await of.app.producer.flush()
    await of.app.producer.stop()


if __name__ == "__main__":
    _, name, seed, rate = sys.argv
    asyncio.run(main(importlib.import_module(name), int(seed), float(rate)))
