"""What README.md says of a worker, of its settings and of its permissions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectionClosedError
from workers import Process, Worker, read_until

from faust_s3 import StoreUnavailable
from faust_s3.claim import Claim, parse
from faust_s3.stores import Location
from faust_s3.stores.s3 import S3Store

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
PART = 5 * 2**20

SEND = """
import asyncio
from readme_example import Photo, app, photos, s3

async def main():
    for name, size in ("large", 3_000_000), ("small", 7_000):
        await photos.send(value=Photo(name, "x" * size))
    await app.producer.stop()
    await s3.close()

asyncio.run(main())
"""


def test_first_example(stack: Any, environ: dict[str, str], tmp_path: Path) -> None:
    """The first example is a worker, and a script that imports it sends without one."""
    code = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[0]
    for ours, theirs in (
        ("kafka://localhost:9092", stack.broker),
        ("s3://my-bucket/photos", environ["FAUST_S3_URL"]),
        ('App("photos"', f'App("{environ["APP_ID"]}"'),
        ('topic("photos"', f'topic("{environ["RECORDS"]}"'),
    ):
        assert ours in code
        code = code.replace(ours, theirs)
    (tmp_path / "readme_example.py").write_text(code, encoding="utf-8")
    stack.create_topic(environ["RECORDS"], partitions=1)
    more = {"PYTHONPATH": str(tmp_path), "FAUST_S3_URL": "", "BROKER_SESSION_TIMEOUT": "10"}
    environ = {**environ, **more}
    assert (script := Process("-c", SEND, environ=environ, cwd=tmp_path)).wait() == 0, script.output
    large, small = read_until(stack.bootstrap, environ["RECORDS"], lambda found: len(found) == 2)
    assert isinstance(parse(large.value), Claim)
    assert json.loads(small.value)["name"] == "small"
    worker = Process(
        *("readme_example.py", "--datadir", str(tmp_path), "worker", "--without-web"),
        environ=environ,
        cwd=tmp_path,
    )
    worker.wait_for("] 7000", 120)  # Faust logs what is printed, each argument by itself
    assert worker.stop() == 0
    assert re.findall(r"\] (large|small|\d+000) *$", worker.output, re.MULTILINE) == [
        *("large", "3000000"),
        *("small", "7000"),
    ]


def test_all_settings_from_the_environment(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker]
) -> None:
    """``S3(app)`` needs nothing but variables."""
    stack.create_topic(environ["RECORDS"], partitions=1)
    worker = start_worker(
        "settings_app", FAUST_S3_THRESHOLD="1KiB", FAUST_S3_KEY_TEMPLATE="from/{topic}/{digest}"
    )
    for size in (10, 2000):
        worker.wait_for(f"read {size}")
    assert worker.stop() == 0
    small, large = read_until(stack.bootstrap, environ["RECORDS"], lambda found: len(found) == 2)
    assert small.value == b'"xxxxxxxxxx"'
    claim = parse(large.value)
    assert isinstance(claim, Claim)
    place = f"s3://{claim.bucket}/{claim.key}"
    assert place.startswith(f"{environ['FAUST_S3_URL']}/from/{environ['RECORDS']}/")


def test_a_config_file_from_the_environment(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """``FAUST_S3_CONFIG`` brings what neither code nor environment says."""
    stack.create_topic(environ["RECORDS"], partitions=1)
    file = tmp_path / "s3.json"
    file.write_text(json.dumps({"url": "s3://another-bucket", "threshold": "1KiB"}))
    worker = start_worker("settings_app", FAUST_S3_CONFIG=str(file))
    worker.wait_for("read 2000")
    assert worker.stop() == 0
    _, large = read_until(stack.bootstrap, environ["RECORDS"], lambda found: len(found) == 2)
    claim = parse(large.value)
    assert isinstance(claim, Claim)
    assert claim.bucket == stack.bucket


#: What a request needs, as the "Actions, resources, and condition keys for Amazon S3" has it.
NEEDED = {
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
}


@pytest.fixture
def session(s3_server: Any) -> boto3.Session:
    """A session whose events are the test's own."""
    return boto3.Session(
        aws_access_key_id=s3_server.keys.access_key,
        aws_secret_access_key=s3_server.keys.secret_key,
        aws_session_token=s3_server.session_token,
    )


async def test_a_worker_needs_what_the_policy_allows(
    session: boto3.Session, s3_server: Any, bucket: str
) -> None:
    """Uploads, whole, in parts or given up, and downloads: no action more, none less."""
    requests: set[str] = set()
    session.events.register("before-call.s3", lambda model, **_: requests.add(model.name))
    store = S3Store(
        session=session,
        region=s3_server.region,
        endpoint_url=s3_server.endpoint_url,
        path_style=True,
        multipart_threshold=PART,
        part_size=PART,
    )
    whole, parts = bytes(1000), bytes(2 * PART + 1)
    for data in (whole, parts):
        await store.put(Location(bucket, f"{len(data)}"), data)

    def cut(request: Any, **_: Any) -> None:
        raise ConnectionClosedError(endpoint_url=request.url)

    session.events.register("before-send.s3.CompleteMultipartUpload", cut)
    await store.close()  # and with it the client, which has its own copy of the events
    with pytest.raises(StoreUnavailable):
        await store.put(Location(bucket, "never"), parts)
    sending = {NEEDED[request] for request in requests}

    requests.clear()
    for data in (whole, parts):
        assert await store.get(Location(bucket, f"{len(data)}"), max_size=len(data)) == data
    receiving = {NEEDED[request] for request in requests}
    await store.close()

    (text,) = re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    actions = {
        statement["Resource"]: statement["Action"] for statement in json.loads(text)["Statement"]
    }
    on_objects, on_bucket = actions.values()
    assert on_bucket == "s3:ListBucket", "no request, but an honest answer to GetObject"
    assert set(on_objects) == sending | receiving
    assert len(on_objects) == len(set(on_objects))
    (sentence,) = re.findall(r"A producer needs no\s`(\w+)`, a consumer no `(\w+)`", README)
    assert f"s3:{sentence[0]}" in on_objects
    assert f"s3:{sentence[0]}" not in sending
    assert f"s3:{sentence[1]}" in on_objects
    assert f"s3:{sentence[1]}" not in receiving
