"""The local stack itself: real servers, started and stopped."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from botocore.exceptions import ClientError
from clients import s3_client

from faust_s3.local import LocalStack, LocalStackError, NoidaBroker, SeaweedFS, Server
from faust_s3.local.running import RunningS3

OURS_ONLY = pytest.mark.skipif(
    "FAUST_S3_LOCAL_ENDPOINT_URL" in os.environ, reason="the S3 server is not ours"
)


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


async def round_trip(stack: LocalStack, topic: str, values: list[bytes]) -> list[bytes]:
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=stack.bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        return [(await consumer.getone()).value for _ in values]
    finally:
        await consumer.stop()


def test_an_object_comes_back(stack: LocalStack, bucket: str) -> None:
    """The first identity writes, reads and lists."""
    with s3_client(stack.s3_server) as s3:
        s3.put_object(Bucket=bucket, Key="a/key", Body=b"payload")
        assert s3.get_object(Bucket=bucket, Key="a/key")["Body"].read() == b"payload"
        assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a/key"]


@pytest.mark.may_block
async def test_a_record_comes_back(stack: LocalStack, topic_name: str) -> None:
    """A created topic can be used at once, also from where an event loop runs."""
    stack.create_topic(topic_name)
    assert await round_trip(stack, topic_name, [b"1", b"2"]) == [b"1", b"2"]


@pytest.mark.may_block
async def test_a_topic_has_the_partitions_asked_for(stack: LocalStack, topic_name: str) -> None:
    """And creating it again changes nothing."""
    stack.create_topic(topic_name, 3, {"cleanup.policy": "compact"})
    stack.create_topic(topic_name, 5)
    consumer = AIOKafkaConsumer(topic_name, bootstrap_servers=stack.bootstrap)
    await consumer.start()
    try:
        assert consumer.partitions_for_topic(topic_name) == {0, 1, 2}
    finally:
        await consumer.stop()


@OURS_ONLY
def test_the_reader_may_not_write(stack: LocalStack) -> None:
    """The second identity reads, and gets a real 403 for a put and a delete."""
    with s3_client(stack.s3_server) as s3:
        s3.put_object(Bucket=stack.bucket, Key="reader", Body=b"payload")
    with s3_client(stack.s3_server, stack.reader_keys) as s3:
        assert s3.get_object(Bucket=stack.bucket, Key="reader")["Body"].read() == b"payload"
        with pytest.raises(ClientError) as caught:
            s3.put_object(Bucket=stack.bucket, Key="reader", Body=b"changed")
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        assert caught.value.response["Error"]["Code"] == "AccessDenied"
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.delete_object(Bucket=stack.bucket, Key="reader")


@OURS_ONLY
def test_sse_kms_takes_any_key_id(stack: LocalStack) -> None:
    """Encrypted with a key of the server's own key service."""
    with s3_client(stack.s3_server) as s3:
        s3.put_object(
            Bucket=stack.bucket,
            Key="kms",
            Body=b"payload",
            ServerSideEncryption="aws:kms",
            SSEKMSKeyId="some-key",
        )
        got = s3.get_object(Bucket=stack.bucket, Key="kms")
        assert got["Body"].read() == b"payload"
        assert got["ServerSideEncryption"] == "aws:kms"


@OURS_ONLY
def test_buckets_are_created_once(stack: LocalStack, topic_name: str) -> None:
    """A second time is no error; a name that S3 does not allow is one."""
    stack.create_bucket(topic_name)
    stack.create_bucket(topic_name)
    with s3_client(stack.s3_server) as s3:
        assert topic_name in [found["Name"] for found in s3.list_buckets()["Buckets"]]
        s3.delete_bucket(Bucket=topic_name)
    with pytest.raises(LocalStackError, match="No_Such_Name"):
        stack.create_bucket("No_Such_Name")


def test_two_stacks_do_not_meet(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own bucket, objects and topics; stopping one leaves the other alone."""
    monkeypatch.delenv("FAUST_S3_LOCAL_BROKER", raising=False)
    monkeypatch.delenv("FAUST_S3_LOCAL_ENDPOINT_URL", raising=False)
    other = LocalStack(bucket="other")
    with other, s3_client(other.s3_server) as theirs, s3_client(stack.s3_server) as ours:
        assert other.bootstrap != stack.bootstrap
        theirs.put_object(Bucket="other", Key="theirs", Body=b"")
        assert [found["Name"] for found in theirs.list_buckets()["Buckets"]] == ["other"]
        assert "other" not in [found["Name"] for found in ours.list_buckets()["Buckets"]]
        assert other.start() is other
        groups = [server.pid for server in (other.s3_server, other.broker_server)]
        directories = [server.directory for server in (other.s3_server, other.broker_server)]
    assert not any(alive(group) for group in groups)
    assert not any(directory.exists() for directory in directories)
    other.stop()
    assert stack.running
    with s3_client(stack.s3_server) as ours:
        ours.head_bucket(Bucket=stack.bucket)


def test_objects_survive_kill_and_restart() -> None:
    """The S3 server comes back on its port, with its objects."""
    with SeaweedFS() as server, s3_client(server) as s3:
        s3.put_object(Bucket=server.bucket, Key="kept", Body=b"payload")
        endpoint_url = server.endpoint_url
        for again in (server.kill, server.restart):
            again()
            server.start()
            assert server.endpoint_url == endpoint_url
            assert s3.get_object(Bucket=server.bucket, Key="kept")["Body"].read() == b"payload"


def test_a_given_directory_is_kept(tmp_path: Path) -> None:
    """The next stack on it finds the objects, on other ports."""
    with SeaweedFS(directory=tmp_path) as one, s3_client(one) as s3:
        s3.put_object(Bucket=one.bucket, Key="kept", Body=b"payload")
    with SeaweedFS(directory=tmp_path) as two, s3_client(two) as s3:
        assert s3.get_object(Bucket=two.bucket, Key="kept")["Body"].read() == b"payload"


def test_the_broker_comes_back_where_it_was() -> None:
    """After a crash: same address, ready for use."""
    with NoidaBroker() as broker:
        before = broker.bootstrap
        broker.kill()
        assert not broker.running
        broker.start()
        assert broker.bootstrap == before
        broker.create_topic("after")


class Failing(Server):
    name = "failing"

    def __init__(self, script: str) -> None:
        super().__init__(start_timeout=0.5)
        self.script = script

    def program(self) -> str:
        return "/bin/sh"

    def arguments(self) -> list[str]:
        return ["-c", self.script]

    def ready(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo no disk; exit 3", r"(?s)failing ended with exit code 3; .*no disk"),
        ("echo slow disk; sleep 60", r"(?s)failing does not answer after 0.5 s; .*slow disk"),
    ],
)
def test_a_server_that_does_not_start_shows_its_log(script: str, sentence: str) -> None:
    """What it wrote last is in the error, and nothing is left behind."""
    server = Failing(script)
    with pytest.raises(LocalStackError, match=sentence):
        server.start()
    assert not server.running
    with pytest.raises(LocalStackError, match="has not been started"):
        _ = server.directory


def test_a_program_that_is_not_there_is_an_error() -> None:
    """Not a traceback of subprocess."""
    server = Failing("")
    server.program = lambda: "/does/not/exist"  # type: ignore[method-assign]
    with pytest.raises(LocalStackError, match=r"failing cannot be started: .*No such file"):
        server.start()


def start_command(*arguments: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "faust_s3.local", *arguments],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        text=True,
    )


def read_exports(command: subprocess.Popen[str]) -> dict[str, str]:
    assert command.stdout is not None
    exports = {}
    for line in command.stdout:
        if line.startswith("#"):
            break
        export, assignment = shlex.split(line)
        assert export == "export"
        name, _, value = assignment.partition("=")
        exports[name] = value
    return exports


@OURS_ONLY
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_exports_and_stops(number: signal.Signals, tmp_path: Path) -> None:
    """A signal ends it with exit code 0; no process and no temporary file stays."""
    with start_command("--bucket", "mine", TMPDIR=str(tmp_path)) as command:
        exports = read_exports(command)
        assert exports["FAUST_S3_URL"] == "s3://mine"
        server = RunningS3.from_environ(exports["FAUST_S3_ENDPOINT_URL"], "mine", exports)
        with s3_client(server) as s3:
            s3.put_object(Bucket="mine", Key="key", Body=b"")
        assert processes_under(tmp_path)
        command.send_signal(number)
        assert command.wait(30) == 0
    assert not processes_under(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_servers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    """SIGKILL of the command ends them too, and removes their directories."""
    with start_command(TMPDIR=str(tmp_path)) as command:
        read_exports(command)
        command.kill()
    deadline = time.monotonic() + 30
    while processes_under(tmp_path) or list(tmp_path.iterdir()):
        assert time.monotonic() < deadline, "servers or their files are still there"
        time.sleep(0.1)


def processes_under(directory: Path) -> list[str]:
    """Command lines that name the directory, of all processes but this one."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "args="], check=True, capture_output=True, text=True
    )
    return [line for line in listed.stdout.splitlines() if str(directory) in line]


@OURS_ONLY
def test_the_given_broker_is_used(stack: LocalStack) -> None:
    """``FAUST_S3_LOCAL_BROKER``: no broker is started, and topics go to that one."""
    with start_command(FAUST_S3_LOCAL_BROKER=stack.broker) as command:
        exports = read_exports(command)
        command.send_signal(signal.SIGINT)
        assert command.wait(30) == 0
    assert exports["KAFKA_BROKER"] == stack.broker
    assert exports["FAUST_S3_ENDPOINT_URL"] != stack.endpoint_url
    assert stack.running
