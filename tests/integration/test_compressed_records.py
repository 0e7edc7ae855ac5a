"""Compressed payloads, through real workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from apps.compressed import PAYLOADS, digest
from workers import APPS, Worker, read_until

from faust_s3.claim import Claim, Encoding, Inline, parse

#: What Python without the library looks like.
WITHOUT_ZSTD = """
import sys

sys.modules["backports.zstd"] = sys.modules["compression.zstd"] = None
"""


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_compressed(
    name: str, stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker], client: Any
) -> None:
    """Agents get what was sent, whatever of it was compressed and wherever it lay."""
    stack.create_topic(environ["RECORDS"], partitions=1)
    worker = start_worker("compressed_app", SENDS="yes", FAUST_S3_COMPRESSION=name)
    for agent in ("eager", "lazy"):
        for key, payload in PAYLOADS.items():
            worker.wait_for(f"{agent} {key} {digest(payload)}", 120)
    records = read_until(
        stack.bootstrap, environ["RECORDS"], lambda found: len(found) == len(PAYLOADS)
    )
    assert [record.key.decode() for record in records] == list(PAYLOADS)
    small, words, text, noise = (parse(record.value) for record in records)
    encoding = Encoding[name.upper()]
    assert small is None
    assert isinstance(words, Inline)
    assert (words.encoding, words.payload_size) == (encoding, 500_000)
    assert isinstance(text, Claim)
    assert (text.encoding, text.payload_size) == (encoding, 2_000_000)
    assert isinstance(noise, Claim)
    assert noise.encoding is Encoding.IDENTITY
    for claim in (text, noise):
        head = client.head_object(Bucket=claim.bucket, Key=claim.key)
        assert head["ContentLength"] == claim.stored_size
    assert text.stored_size < 1_300_000
    assert worker.stop() == 0


def test_a_worker_without_the_library(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker], tmp_path: Any
) -> None:
    """It says what to install, and skips nothing; once it is installed it goes on from there."""
    stack.create_topic(environ["RECORDS"], partitions=1)
    writer = start_worker("compressed_app", SENDS="yes", FAUST_S3_COMPRESSION="zstd")
    writer.wait_for(f"lazy noise {digest(PAYLOADS['noise'])}", 120)
    assert writer.stop() == 0
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_ZSTD)
    more = {"APP_ID": f"{environ['APP_ID']}-reader", "FAUST_S3_ON_BAD_CLAIM": "skip"}
    path = {"PYTHONPATH": f"{tmp_path}:{APPS}"}
    reader = start_worker("compressed_app", **more, **path)
    reader.wait_for("pip install 'faust-s3[zstd]'", 120)
    assert reader.wait(120) != 0
    assert "eager words" not in reader.output
    assert "skipped" not in reader.output
    reader = start_worker("compressed_app", **more)
    for agent in ("eager", "lazy"):
        reader.wait_for(f"{agent} noise {digest(PAYLOADS['noise'])}", 120)
    assert "eager words" in reader.output
    assert reader.stop() == 0
