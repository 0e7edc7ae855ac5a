"""``fallback="inline"`` while the store is really away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workers import APPS, Process, Worker, committed, produce, read_until

from faust_s3.claim import Claim, parse
from faust_s3.local import SeaweedFS

SOON = "1"  # s
FITS, TOO_LARGE = 300_000, 2_000_000


def test_what_fits_goes_inline_and_the_rest_waits(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """Agents go on with what Kafka takes; what it does not comes in its turn, as a claim."""
    environ |= {"FAUST_S3_FALLBACK": "inline", "FAUST_S3_SEND_TIMEOUT": SOON}
    records, seen = environ["RECORDS"], environ["SEEN"]
    for topic in (records, seen):
        stack.create_topic(topic, partitions=1)

    def tell(*sizes: int) -> None:
        produce(stack.bootstrap, records, *((None, b"%d" % size) for size in sizes))

    def script(size: int, says: str) -> None:
        process = Process(str(APPS / "fallback_app.py"), str(size), environ=environ, cwd=tmp_path)
        process.wait_for(says)
        assert process.wait() == 0

    with SeaweedFS(bucket=stack.bucket) as server:
        environ["FAUST_S3_ENDPOINT_URL"] = server.endpoint_url
        worker = start_worker("fallback_app", FAUST_S3_ENDPOINT_URL=server.endpoint_url).ready()
        tell(6000)
        read_until(stack.bootstrap, seen, lambda found: len(found) == 1)
        server.kill()
        tell(5000, 10, FITS, FITS)
        read_until(stack.bootstrap, seen, lambda found: len(found) == 5)
        script(FITS, "sent")
        script(TOO_LARGE, "not sent: ")
        tell(TOO_LARGE, 11)
        worker.wait_for("is unavailable")
        # Its event is held, and what was sent behind it waits for its turn.
        assert (committed(stack.bootstrap, environ["APP_ID"], records) or 0) <= 5
        server.start()
        found = read_until(stack.bootstrap, seen, lambda found: len(found) == 8)
        kinds = [type(parse(record.value)) for record in found]
        assert kinds == [Claim, *[type(None)] * 5, Claim, type(None)]
        inline = [len(json.loads(record.value)) for record in found if parse(record.value) is None]
        assert inline == [5000, 10, FITS, FITS, FITS, 11]
        assert parse(found[6].value).payload_size == TOO_LARGE + 2  # type: ignore[union-attr]
        assert worker.stop() == 0
    assert committed(stack.bootstrap, environ["APP_ID"], records) == 7
    assert worker.output.count("values go to Kafka inline") <= 2  # one in 30 s
