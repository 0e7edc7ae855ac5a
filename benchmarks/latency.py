"""Reading and sending with store latency, beside the same app with the blocking codec.

    python benchmarks/latency.py [--records 200] [--size 100000] [--latency 0.030]

Both apps are the same program in processes of their own, against the same servers, one
after the other, in several rounds. The blocking one does not bind ``S3`` to its app, so
that the codec does the work itself, on the event loop, as codecs in Faust do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from uuid import uuid4

import faust

ROUNDS = 3


async def measure(blocking: bool, count: int, size: int, topic_name: str) -> dict[str, float]:
    """Send, then read, inside one process; return records per second."""
    from faust_s3 import S3

    app = faust.App(f"bench-{topic_name}", broker=os.environ["KAFKA_BROKER"], web_enabled=False,
                    consumer_auto_offset_reset="earliest", topic_disable_leader=True)  # fmt: skip
    if blocking:
        s3 = S3(threshold=size // 2)  # no app: the codec does the work itself
        topic = app.topic(topic_name, value_type=str, value_serializer="raw|s3")
    else:
        s3 = S3(app, threshold=size // 2)
        topic = app.topic(topic_name, value_type=str, value_serializer="raw|s3")
    values = [f"{number:08}" + "x" * (size - 8) for number in range(count)]

    started = perf_counter()
    await asyncio.gather(*(topic.send(value=value) for value in values))
    await app.producer.flush()
    sent = perf_counter() - started

    received: list[float] = []
    done = asyncio.Event()

    async def read(stream: faust.types.StreamT[str]) -> None:
        async for value in stream:
            assert value == values[len(received)]
            received.append(perf_counter())
            if len(received) == count:
                done.set()

    app.agent(topic)(read)
    app.finalize()
    await app.start()
    started = perf_counter()
    await done.wait()
    read_in = received[-1] - received[0]
    await app.stop()
    await s3.close()
    return {"send": count / sent, "read": (count - 1) / read_in}


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--records", type=int, default=200)
    parser.add_argument("--size", type=int, default=100_000, help="bytes")
    parser.add_argument("--latency", type=float, default=0.030, help="seconds per request")
    parser.add_argument("--measure", choices=["async", "blocking"], help=argparse.SUPPRESS)
    parser.add_argument("--topic", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        rates = asyncio.run(
            measure(args.measure == "blocking", args.records, args.size, args.topic)
        )
        print(json.dumps(rates))
        return

    from faust_s3.local import LatencyProxy, LocalStack

    results: dict[str, list[dict[str, float]]] = {"blocking": [], "async": []}
    with (
        LocalStack(broker="noida") as stack,
        LatencyProxy(stack.endpoint_url, latency=args.latency) as proxy,
    ):
        environ = {**os.environ, **stack.environ, "KAFKA_BROKER": stack.broker,
                   "FAUST_S3_ENDPOINT_URL": proxy.endpoint_url}  # fmt: skip
        for number in range(ROUNDS):
            for kind, runs in results.items():
                topic = f"bench-{uuid4().hex[:8]}"
                stack.create_topic(topic, partitions=1)
                run = subprocess.run(
                    [sys.executable, str(Path(__file__).resolve()), "--measure", kind,
                     "--topic", topic, "--records", str(args.records), "--size", str(args.size)],
                    env=environ, check=True, stdout=subprocess.PIPE, text=True,
                )  # fmt: skip
                runs.append(json.loads(run.stdout.splitlines()[-1]))
                print(f"round {number + 1}/{ROUNDS} {kind}", file=sys.stderr)
    print(f"{args.records} records of {args.size} bytes, {args.latency * 1000:.0f} ms latency, "
          f"median of {ROUNDS} rounds")  # fmt: skip
    print(f"{'':10} {'blocking codec':>16} {'faust_s3':>16} {'ratio':>8}")
    for what in ("send", "read"):
        slow, fast = (
            statistics.median(rates[what] for rates in results[kind])
            for kind in ("blocking", "async")
        )
        print(f"{what:10} {slow:12.1f} r/s {fast:12.1f} r/s {fast / slow:7.1f}x")


if __name__ == "__main__":
    main()
