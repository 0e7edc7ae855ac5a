"""Guards around every test, and the servers of a test run, started once and when asked for.

``FAUST_S3_TEST_BROKER`` says which broker: tansu (the default), noida, or kafka, which is
Apache Kafka itself. See `faust_s3.local.LocalStack` for servers that run elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Any
from uuid import uuid4

import boto3
import botocore.session
import pytest
from apache_kafka import ApacheKafka, available
from clients import s3_client

from faust_s3.local import LocalStack, SeaweedFS
from faust_s3.local.running import RunningS3
from faust_s3.local.stack import s3_from_environ

pytest_plugins = ["guards"]

# Sessions share what boto3 reads of its own files: 0.15 s of CPU, for each of hundreds of tests.
botocore.session.create_loader = cache(botocore.session.create_loader)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[SeaweedFS | RunningS3]:
    """An S3 server without a broker, for tests that need no Kafka."""
    if (theirs := s3_from_environ()) is not None:
        yield theirs
    else:
        with SeaweedFS() as ours:
            yield ours


@pytest.fixture(scope="session")
def stack(s3_server: SeaweedFS | RunningS3) -> Iterator[LocalStack]:
    """The same S3 server with a broker."""
    broker: str | ApacheKafka = os.environ.get("FAUST_S3_TEST_BROKER", "tansu")
    if broker == "kafka":
        if (problem := available()) is not None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(problem)
        broker = ApacheKafka()
    with LocalStack(broker=broker, s3=s3_server) as running:
        yield running


@pytest.fixture
def session(s3_server: SeaweedFS | RunningS3) -> boto3.Session:
    """A session of the identity that may do everything; its events are the test's own."""
    return boto3.Session(
        aws_access_key_id=s3_server.keys.access_key,
        aws_secret_access_key=s3_server.keys.secret_key,
        aws_session_token=s3_server.session_token,
    )


@pytest.fixture
def client(s3_server: SeaweedFS | RunningS3) -> Iterator[Any]:
    """A bare client beside the store."""
    with s3_client(s3_server) as made:
        yield made


@pytest.fixture
def bucket(client: Any) -> Iterator[str]:
    """A bucket of the test's own, which goes away with what is in it."""
    name = f"test-{uuid4().hex}"
    client.create_bucket(Bucket=name)
    yield name
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        if found := [{"Key": one["Key"]} for one in page.get("Contents", ())]:
            client.delete_objects(Bucket=name, Delete={"Objects": found})
    client.delete_bucket(Bucket=name)


@pytest.fixture
def topic_name() -> str:
    """A name that no other test uses; the topic is not there yet."""
    return f"test-{uuid4().hex}"
