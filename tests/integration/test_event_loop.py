"""The event loop is never blocked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workers import Worker, read_until, values

from faust_s3.local import LatencyProxy


def test_a_slow_store_does_not_stop_the_loop(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker]
) -> None:
    """With 200 ms per call, 400 calls delay no more heartbeats than a busy machine does."""
    for name in (environ["RECORDS"], environ["SEEN"]):
        stack.create_topic(name, partitions=1)
    with LatencyProxy(stack.endpoint_url, latency=0.2) as proxy:
        worker = start_worker(
            "heartbeat_app",
            FAUST_S3_ENDPOINT_URL=proxy.endpoint_url,
            COVERAGE_PROCESS_CONFIG="",  # a tracer would be what is measured
        )
        (report,) = values(
            read_until(stack.bootstrap, environ["SEEN"], lambda found: len(found) == 1)
        )
        assert worker.stop() == 0
    assert report["received"] == 200
    assert report["beats"] > 100
    # One blocking call per record would have cost 200; a busy machine has cost 8.
    assert report["misses"] < 50, report
