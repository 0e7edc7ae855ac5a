"""Several stores on one app: writers choose, readers accept all that are registered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from workers import Worker, read_until, values

from faust_s3.claim import Claim, parse


def claims(records: list[Any]) -> Counter[str]:
    found = [parse(record.value) for record in records]
    return Counter(claim.bucket for claim in found if isinstance(claim, Claim))


def test_moving_from_one_bucket_to_another(
    stack: Any,
    environ: dict[str, str],
    bucket: str,
    start_worker: Callable[..., Worker],
) -> None:
    """New records go to the new bucket; those that lie in the old one are still read."""
    stack.create_topic(environ["RECORDS"], partitions=1)
    stack.create_topic(environ["SEEN"], partitions=1)
    urls = {"OLD_URL": f"s3://{stack.bucket}/a", "NEW_URL": f"s3://{bucket}/b"}

    worker = start_worker("stores_app", STORES="old", WRITES="old", **urls).ready()
    read_until(stack.bootstrap, environ["SEEN"], lambda found: len(found) == 4)
    assert worker.stop() == 0

    # Another group reads everything again, and writes to the new bucket.
    again = {**urls, "APP_ID": environ["APP_ID"] + "-new", "SEEN": environ["SEEN"] + "-new"}
    stack.create_topic(again["SEEN"], partitions=1)
    worker = start_worker("stores_app", STORES="old new", WRITES="new", **again).ready()
    reports = values(read_until(stack.bootstrap, again["SEEN"], lambda found: len(found) == 10))
    assert worker.stop() == 0
    assert Counter(report["from"] for report in reports if report["size"] == 5000) == {
        "old": 1, "to old": 2, "new": 1, "to new": 1,
    }  # fmt: skip
    records = read_until(stack.bootstrap, environ["RECORDS"], lambda found: len(found) == 10)
    assert claims(records[:4]) == {stack.bucket: 2}
    assert claims(records[4:]) == {bucket: 2, stack.bucket: 1}


def test_a_store_that_is_not_registered(
    stack: Any,
    environ: dict[str, str],
    bucket: str,
    start_worker: Callable[..., Worker],
) -> None:
    """A claim on a bucket that the app does not know is refused, not requested."""
    stack.create_topic(environ["RECORDS"], partitions=1)
    stack.create_topic(environ["SEEN"], partitions=1)
    urls = {"OLD_URL": f"s3://{stack.bucket}/a", "NEW_URL": f"s3://{bucket}/b"}
    worker = start_worker("stores_app", STORES="old", WRITES="old", **urls).ready()
    read_until(stack.bootstrap, environ["SEEN"], lambda found: len(found) == 4)
    assert worker.stop() == 0
    worker = start_worker(
        "stores_app", STORES="new", WRITES="new", **urls, APP_ID=environ["APP_ID"] + "-new"
    )
    assert worker.wait(90) != 0
    assert f"bucket='{stack.bucket}'" in worker.output
    assert "ClaimError" in worker.output
