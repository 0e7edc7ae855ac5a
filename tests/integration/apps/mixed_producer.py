"""Sends records of every size, many at a time: python mixed_producer.py NAME COUNT."""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
from collections.abc import Iterator

from faust_s3.claim import MAGIC

KEYS = 8
IN_FLIGHT = 16


def payloads(producer: str, count: int, threshold: int) -> Iterator[tuple[int, bytes | None]]:
    """The same records for sender and checker."""
    source = random.Random(producer)
    edges = [0, 1, threshold - 1, threshold, threshold + 1, 1_000_000, 1_048_576]
    for seq in range(count):
        match seq % 10:
            case 0:
                yield seq, None
            case 1:
                yield seq, source.randbytes(edges[seq // 10 % len(edges)])
            case 2:
                yield seq, MAGIC + source.randbytes(source.choice([0, 3, 200, threshold]))
            case 3 if seq % 50 == 3:
                yield seq, source.randbytes(source.randrange(5_000_000, 20_000_000))
            case 3 | 4:
                yield seq, source.randbytes(source.randrange(threshold, 10 * threshold))
            case _:
                yield seq, source.randbytes(source.randrange(threshold))


def expected(producer: str, count: int, threshold: int) -> dict[int, str | None]:
    return {
        seq: None if value is None else hashlib.sha256(value).hexdigest()
        for seq, value in payloads(producer, count, threshold)
    }


async def produce(producer: str, count: int) -> None:
    from mixed import app, records, s3

    sends: set[asyncio.Task[object]] = set()
    for seq, value in payloads(producer, count, s3.config.threshold):
        task: asyncio.Task[object] = asyncio.ensure_future(
            records.send(
                key=f"key-{seq % KEYS}".encode(),
                value=value,
                headers={"producer": producer.encode(), "seq": str(seq).encode()},
            )
        )
        sends.add(task)
        await asyncio.sleep(0)  # so that it takes its place in the line now
        if len(sends) >= IN_FLIGHT:
            done, sends = await asyncio.wait(sends, return_when=asyncio.FIRST_COMPLETED)
            for sent in done:
                sent.result()
    await asyncio.gather(*sends)
    await app.producer.flush()
    await app.producer.stop()
    await s3.close()
    print(f"{producer} sent {count}")


if __name__ == "__main__":
    asyncio.run(produce(sys.argv[1], int(sys.argv[2])))
