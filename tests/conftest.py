"""The servers of a test run, started once and when first asked for.

``FAUST_S3_TEST_BROKER`` says which broker: tansu (the default), noida, or kafka, which is
Apache Kafka itself. See `faust_s3.local.LocalStack` for servers that run elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import boto3
import pytest
from apache_kafka import ApacheKafka, available
from botocore.config import Config

from faust_s3.local import LocalStack, SeaweedFS
from faust_s3.local.running import RunningS3
from faust_s3.local.stack import s3_from_environ


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
def bucket(s3_server: SeaweedFS | RunningS3) -> Iterator[str]:
    """A bucket of the test's own, which goes away with what is in it."""
    name = f"test-{uuid4().hex}"
    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint_url,
        region_name=s3_server.region,
        aws_access_key_id=s3_server.keys.access_key,
        aws_secret_access_key=s3_server.keys.secret_key,
        aws_session_token=s3_server.session_token,
        config=Config(s3={"addressing_style": "path"}),
    )
    with closing(client):
        client.create_bucket(Bucket=name)
        yield name
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
            for found in page.get("Contents", ()):
                client.delete_object(Bucket=name, Key=found["Key"])
        client.delete_bucket(Bucket=name)


@pytest.fixture
def topic_name() -> str:
    """A name that no other test uses; the topic is not there yet."""
    return f"test-{uuid4().hex}"
