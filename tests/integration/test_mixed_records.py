"""Five hundred records of every size, two producers, two workers, one of them restarted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apps.mixed_producer import expected
from workers import APPS, Process, Worker, read_until, values

COUNT = 250
THRESHOLD = 100_000
PRODUCERS = ("ada", "ben")


def test_every_record_arrives_whole_and_in_order(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """Nothing is lost, nothing is altered, and keys keep their order over a restart."""
    stack.create_topic(environ["RECORDS"], partitions=4)
    stack.create_topic(environ["SEEN"], partitions=4)
    staying = start_worker("mixed").ready()
    restarting = start_worker("mixed").ready()
    script = str(APPS / "mixed_producer.py")
    producers = [
        Process(script, name, str(COUNT), environ=environ, cwd=tmp_path) for name in PRODUCERS
    ]
    seen = environ["SEEN"]
    read_until(stack.bootstrap, seen, lambda records: len(records) >= 60)
    assert restarting.stop() == 0
    restarted = start_worker("mixed").ready()
    for producer in producers:
        assert producer.wait(180) == 0, producer.output

    def all_seen(records: list[Any]) -> bool:
        return len({record.value for record in records}) >= COUNT * len(PRODUCERS)

    reports = values(read_until(stack.bootstrap, seen, all_seen, timeout=240))

    digests = {name: expected(name, COUNT, THRESHOLD) for name in PRODUCERS}
    newest: dict[tuple[str, str], int] = {}
    arrived = defaultdict(set)
    for report in reports:
        producer, seq = report["producer"], report["seq"]
        assert report["sha256"] == digests[producer][seq]
        arrived[producer].add(seq)
        key = producer, report["key"]
        step = seq - newest.get(key, int(report["key"].removeprefix("key-")) - 8)
        assert step <= 8, f"{key}: {seq} overtook {seq - step + 8}"  # 8 keys take turns
        newest[key] = max(seq, newest.get(key, seq))
    assert arrived == {name: set(range(COUNT)) for name in PRODUCERS}
    assert staying.stop() == 0
    assert restarted.stop() == 0
