"""Reading and sending with store latency, beside the same app with the blocking codec.

    python benchmarks/latency.py [--records 100] [--size 100000] [--latency 0.030] [--rounds 3]

Both contenders are the same Faust app with the same records, each in processes of its own,
in turns, against the same servers. With "blocking codec", ``S3`` is not bound to the app, so
that the codec does the work itself, on the event loop, as codecs in Faust do.

Before anything is measured, `MARGIN` records open the connections. Then a task sends

- "send, gathered": ``asyncio.gather(*(topic.send(value=value) for value in values))``,
- "send, one by one": ``for value in values: await topic.send(value=value)``,

each time until the broker has them all, and an agent reads what is on the topic: "read".
There the first and the last `MARGIN` records do not count, because downloads run ahead: when
the first record arrives, those behind it are half done, and there are none behind the last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final, TypeAlias
from uuid import uuid4

import faust

from faust_s3 import S3
from faust_s3.config import DEFAULT_CONCURRENCY, DEFAULT_PREFETCH
from faust_s3.local import LatencyProxy, LocalStack, LocalStackError

Rates: TypeAlias = dict[str, float]

BLOCKING: Final = "blocking codec"
ASYNC: Final = "faust_s3"
CONTENDERS: Final = (BLOCKING, ASYNC)
MARGIN: Final = max(DEFAULT_CONCURRENCY, DEFAULT_PREFETCH)
SCRIPT: Final = Path(__file__).resolve()


class Failed(Exception):
    """A measurement failed; the text says which and how."""


# -- one measurement, in a process of its own


async def measure(contender: str, count: int, size: int, topic_name: str, datadir: str) -> Rates:
    """Send, then read; return records per second."""
    app = faust.App(
        topic_name,
        broker=os.environ["KAFKA_BROKER"],
        consumer_auto_offset_reset="earliest",
        datadir=datadir,
        topic_disable_leader=True,
        web_enabled=False,
    )
    s3 = S3(app if contender == ASYNC else None, threshold=size // 2)
    topic = app.topic(topic_name, value_type=str, value_serializer="raw|s3")

    values = [f"{number:08}".ljust(size, "x") for number in range(MARGIN + 2 * count)]
    unseen = set(values)
    arrivals: list[float] = []
    arrived = asyncio.Event()

    # What an agent raises does not end the app: Faust starts the agent again. And plain Faust
    # does not keep the order of sends that overlap. So it is looked at afterwards, and as a set.
    @app.agent(topic)
    async def read(stream: faust.types.StreamT[str]) -> None:
        async for value in stream:
            arrivals.append(perf_counter())
            unseen.discard(value)
            if len(arrivals) % 50 == 0:
                say(f"read {len(arrivals)} of {len(values)} records")
            if len(arrivals) == len(values):
                arrived.set()

    async def gathered(batch: list[str]) -> None:
        await asyncio.gather(*(topic.send(value=value) for value in batch))

    async def one_by_one(batch: list[str]) -> None:
        for value in batch:
            await topic.send(value=value)

    warm_up, first, second = values[:MARGIN], values[MARGIN:-count], values[-count:]
    rates: Rates = {}
    for name, send, batch in (
        ("warm-up", gathered, warm_up),
        ("send, gathered", gathered, first),
        ("send, one by one", one_by_one, second),
    ):
        started = perf_counter()
        await send(batch)
        await app.producer.flush()
        rates[name] = len(batch) / (perf_counter() - started)
        say(f"{name}: {len(batch)} records")
    del rates["warm-up"]

    say("starting the app")
    await app.start()
    await arrived.wait()
    say("stopping the app")
    await app.stop()
    await s3.close()
    if unseen:
        raise Failed(f"{len(unseen)} of {len(values)} records did not come back whole")

    counted = arrivals[MARGIN:-MARGIN]
    rates["read"] = (len(counted) - 1) / (counted[-1] - counted[0])
    return rates


def say(what: str) -> None:
    """Leave a trace for the case that the measurement fails."""
    print(what, file=sys.stderr, flush=True)


# -- all of them


def run(options: argparse.Namespace) -> list[dict[str, Rates]]:
    """Start the servers and measure both contenders in each round."""
    rounds: list[dict[str, Rates]] = []
    with (
        TemporaryDirectory() as scratch,
        LocalStack() as stack,
        LatencyProxy(stack.endpoint_url, latency=options.latency) as proxy,
    ):
        environ = {**os.environ, **stack.environ, "FAUST_S3_ENDPOINT_URL": proxy.endpoint_url}
        for number in range(options.rounds):
            rates: dict[str, Rates] = {}
            # Neither is always the first.
            for contender in CONTENDERS if number % 2 == 0 else reversed(CONTENDERS):
                topic = f"bench-{uuid4().hex}"
                stack.create_topic(topic, partitions=1)
                rates[contender] = measured(contender, topic, scratch, environ, options)
                shown = ", ".join(f"{name} {rate:.1f}/s" for name, rate in rates[contender].items())
                say(f"round {number + 1} of {options.rounds}, {contender}: {shown}")
            rounds.append(rates)
    return rounds


def measured(
    contender: str, topic: str, scratch: str, environ: dict[str, str], options: argparse.Namespace
) -> Rates:
    """Measure in another process.

    Raises:
        Failed: If it fails or does not end in time; the text holds the end of its log.
    """
    log = Path(scratch, f"{topic}.log")
    with log.open("wb") as stderr:
        try:
            done = subprocess.run(
                [
                    *(sys.executable, str(SCRIPT), "--measure", contender),
                    *("--topic", topic, "--datadir", str(Path(scratch, topic))),
                    *("--records", str(options.records), "--size", str(options.size)),
                ],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                timeout=options.timeout,
                check=True,
            )
        except subprocess.TimeoutExpired:
            problem = f"did not end within {options.timeout:g} s (--timeout)"
        except subprocess.CalledProcessError as exc:
            problem = f"ended with exit code {exc.returncode}"
        else:
            rates: Rates = json.loads(done.stdout.splitlines()[-1])
            return rates
    tail = log.read_text(encoding="utf-8", errors="replace")[-3000:].strip()
    raise Failed(f"{contender} {problem}; its log ends:\n{tail or '(empty)'}")


def show(rounds: list[dict[str, Rates]], options: argparse.Namespace) -> None:
    """Print the table."""
    print(
        f"{options.size} bytes per record, {options.latency * 1000:g} ms of added store latency.\n"
        f"Records per second: median of {len(rounds)} rounds (lowest to highest).\n"
    )
    print(f"{'':18}", *(f"{contender:>24}" for contender in CONTENDERS), f"{'ratio':>8}")
    for name in ("read", "send, gathered", "send, one by one"):
        medians: list[float] = []
        cells: list[str] = []
        for contender in CONTENDERS:
            found = [rates[contender][name] for rates in rounds]
            medians.append(statistics.median(found))
            cells.append(f"{medians[-1]:.1f} ({min(found):.1f} to {max(found):.1f})")
        ratio = f"{medians[1] / medians[0]:.1f}x"
        print(f"{name:18}", *(f"{cell:>24}" for cell in cells), f"{ratio:>8}")


def main() -> int:
    """Measure and print the table; return the exit code."""
    parser = argparse.ArgumentParser(
        description="Reading and sending with store latency, beside the blocking codec."
    )
    parser.add_argument("--records", type=int, default=100, help="of each kind of send")
    parser.add_argument("--size", type=int, default=100_000, help="bytes of a record")
    parser.add_argument("--latency", type=float, default=0.030, help="seconds for each answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=120, help="seconds for one measurement")
    for internal in ("--measure", "--topic", "--datadir"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.records < MARGIN or options.size < 100 or options.rounds < 1:
        parser.error(f"at least {MARGIN} records of 100 bytes in 1 round are needed")

    if options.measure:
        logging.basicConfig(level=logging.WARNING)
        rates = asyncio.run(
            measure(options.measure, options.records, options.size, options.topic, options.datadir)
        )
        print(json.dumps(rates))
        return 0

    # A polite kill stops servers and measurement as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        show(run(options), options)
    except KeyboardInterrupt:
        say("Interrupted; the servers are stopped.")
        return 130
    except (Failed, LocalStackError) as exc:
        say(f"Failed: {exc}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
