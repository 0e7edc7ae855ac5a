"""Real workers over the second engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workers import Worker, read_until

from faust_s3.claim import Claim, parse


@pytest.mark.parametrize("scheme", ["s3", "file"])
def test_obstore(
    scheme: str,
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
    client: Any,
    tmp_path: Path,
) -> None:
    """A worker sends and reads by obstore, without a line of code, in S3 and in a directory."""
    stack.create_topic(environ["RECORDS"], partitions=1)
    (tmp_path / "payloads").mkdir()
    more = {"FAUST_S3_ENGINE": "obstore", "FAUST_S3_THRESHOLD": "1KiB"}
    if scheme == "file":
        elsewhere = {"FAUST_S3_URL": f"file://{tmp_path}/payloads", "FAUST_S3_ENDPOINT_URL": ""}
        more |= {**elsewhere, "FAUST_S3_REGION": "", "FAUST_S3_PATH_STYLE": ""}
    worker = start_worker("settings_app", **more)
    for size in (10, 2000):
        worker.wait_for(f"read {size}", 120)
    small, large = read_until(stack.bootstrap, environ["RECORDS"], lambda found: len(found) == 2)
    assert parse(small.value) is None
    claim = parse(large.value)
    assert isinstance(claim, Claim)
    if scheme == "file":
        assert (tmp_path / claim.bucket / claim.key).stat().st_size == 2002
    else:
        head = client.head_object(Bucket=claim.bucket, Key=claim.key)
        assert head["ContentLength"] == 2002
    assert worker.stop() == 0


def test_one_engine_reads_what_the_other_stored(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker]
) -> None:
    """Engines may be changed while records lie on the topic."""
    stack.create_topic(environ["RECORDS"], partitions=1)
    for number, engine in enumerate(("boto3", "obstore", "boto3"), 1):
        worker = start_worker(
            "settings_app",
            APP_ID=f"{environ['APP_ID']}-{number}",  # reads from the beginning
            FAUST_S3_ENGINE=engine,
            FAUST_S3_THRESHOLD="1KiB",
        )
        worker.wait_for("read 2000", 120, times=number)
        assert worker.stop() == 0
