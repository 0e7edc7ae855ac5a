"""Every way in which Faust sends: what lies on the topic and in S3, what the sender is told."""

from __future__ import annotations

import hashlib
import json
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from aiokafka.partitioner import murmur2
from workers import APPS, Process, Worker, produce, read_until, values

from faust_s3.claim import Claim, is_envelope, parse

#: Not now, but not so long ago that retention would take the records away.
TIMESTAMP = float(int(time.time()) - 1000)
WAYS = [
    "topic_send", "topic_send_soon", "app_send", "by_name", "by_name_and_codec",
    "by_name_and_model", "another_codec", "another_schema", "bytes_and_codec",
    "bytes_and_schema", "large_key", "large_bytes_key_and_codec", "partition_and_timestamp",
    "list_of_headers", "eager_partitioning", "eager_partitioning_of_a_large_key",
    "with_callback", "soon_with_callback", "through_the_producers_buffer", "soon_and_flush",
]  # fmt: skip
#: Where nothing names the codec for values.
PLAIN = {"by_name", "large_bytes_key_and_codec"}
KEYS = {"large_key", "large_bytes_key_and_codec", "eager_partitioning_of_a_large_key"}
SIZES = (10, 5000)


@pytest.fixture
def start_program(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start programs without ``faust worker``; what a test leaves running is stopped."""
    programs: list[Process] = []

    def start(name: str, *args: str, **more: str) -> Process:
        program = Process(
            str(APPS / f"{name}.py"), *args, environ={**environ, **more}, cwd=tmp_path
        )
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.kill()


def payload(client: Any, data: bytes) -> bytes:
    """What a key or value on a topic stands for, by nothing but its bytes and S3."""
    claim = parse(data)
    if claim is None:
        return data
    assert isinstance(claim, Claim)
    return bytes(client.get_object(Bucket=claim.bucket, Key=claim.key)["Body"].read())


def by_id(records: list[ConsumerRecord]) -> dict[str, ConsumerRecord]:
    found = {dict(record.headers)["id"].decode(): record for record in records}
    assert len(found) == len(records), "a message was sent more than once"
    return found


def check(client: Any, where: str, records: dict[str, Any], reports: dict[str, Any]) -> None:
    """Compare what was asked for with what came about."""
    offsets = {(record.partition, record.offset): id_ for id_, record in records.items()}
    large_keys = {record.partition for id_, record in records.items() if id_.split("/")[1] in KEYS}
    (partition,) = large_keys
    assert partition == (murmur2(b"k" * 2000) & 0x7FFFFFFF) % 3, "the key's, not its claim's"
    for way in WAYS:
        for size in SIZES:
            id_ = f"{where}/{way}/{size}"
            report, record = reports[id_], records[id_]
            assert report["problem"] is None, id_
            # the value
            assert is_envelope(record.value) is (size > 1000 and way not in PLAIN), id_
            sent = payload(client, record.value)
            text = sent.decode().split("\n")[0]  # YAML ends its documents
            if way not in ("another_codec", "bytes_and_codec", "bytes_and_schema"):
                text = json.loads(sent)
            assert (text["text"] if isinstance(text, dict) else text) == "x" * size, id_
            # the key
            assert is_envelope(record.key or b"") is (way in KEYS), id_
            if way in KEYS:
                assert payload(client, record.key) == b"k" * 2000
            # what the sender was told
            partition, offset = report["metadata"][1:3]
            assert offsets[partition, offset] == id_
            assert report["metadata"][0] == record.topic
            if way == "partition_and_timestamp":
                assert (record.partition, record.timestamp) == (2, TIMESTAMP * 1000)
            pairs = [("id", id_.encode())]
            if way == "list_of_headers":
                pairs += [("twice", b"1"), ("twice", b"2"), ("none", None)]
            assert list(record.headers) == pairs
            if "callback" in way:
                assert report["called"] == [[record.topic, record.partition]]
            # what on_produce_message was told
            ((key, value, chosen, timestamp, headers),) = report["produced"]
            assert b64decode(value) == record.value
            assert (key and b64decode(key)) == record.key
            assert chosen in (None, record.partition)
            assert timestamp == (TIMESTAMP if way == "partition_and_timestamp" else None)
            assert headers == len(pairs)


def test_every_way_in_a_worker(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker], client: Any
) -> None:
    """From an agent and from a task."""
    out, seen = environ["RECORDS"], environ["SEEN"]
    stack.create_topic(out, partitions=3)
    stack.create_topic(f"{out}-starts", partitions=1)
    stack.create_topic(seen, partitions=1)
    worker = start_worker("sending_ways", TIMESTAMP=str(TIMESTAMP), TASK="yes")
    produce(stack.bootstrap, f"{out}-starts", (None, b"agent"))
    total = len(WAYS) * len(SIZES) * 2
    reports = values(read_until(stack.bootstrap, seen, lambda found: len(found) >= total))
    records = by_id(read_until(stack.bootstrap, out, lambda found: len(found) >= total + 2))
    for where in ("agent", "task"):
        check(
            client,
            where,
            {id_: record for id_, record in records.items() if id_.startswith(where)},
            {report["id"]: report for report in reports},
        )
    assert worker.stop() == 0


@pytest.mark.parametrize("where", ["unstarted", "client", "producer_only", "lifespan"])
def test_every_way_without_a_worker(
    stack: Any,
    environ: dict[str, str],
    start_program: Callable[..., Process],
    client: Any,
    where: str,
) -> None:
    """From a script, a client, a web server: programs that only send."""
    out, seen = environ["RECORDS"], environ["SEEN"]
    stack.create_topic(out, partitions=3)
    stack.create_topic(f"{out}-starts", partitions=1)
    stack.create_topic(seen, partitions=1)
    program = start_program("sending_program", where, TIMESTAMP=str(TIMESTAMP), REPLIES="yes")
    assert program.wait(120) == 0, program.output
    total = len(WAYS) * len(SIZES)
    reports = values(read_until(stack.bootstrap, seen, lambda found: len(found) >= total))
    records = by_id(read_until(stack.bootstrap, out, lambda found: len(found) >= total + 3))
    # what was left to the app when it stopped, in order
    left = [records.pop(f"{where}/left_behind/{size}") for size in (5000, 10)]
    assert [json.loads(payload(client, record.value)) for record in left] == ["x" * 5000, "x" * 10]
    check(client, where, records, {report["id"]: report for report in reports})


ENDS = ["sent", "forwarded", "by_name", "derived", "sunk", "sunk_in_agent", "grouped",
        "passed_through"]  # fmt: skip
#: Where the payloads of two large records of three are stored: not where claims are passed on.
UPLOADS = {"photos": 2, "keyed": 2 + 3, "sent": 2, "sunk": 2, "sunk_in_agent": 2}


@pytest.mark.parametrize("on_commit", ["", "yes"])
def test_what_one_record_sets_off(
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
    client: Any,
    on_commit: str,
) -> None:
    """Sinks, forwards, repartitions: whole values at every end, claims passed on as they are.

    The same with ``stream_publish_on_commit``.
    """
    name, seen = environ["RECORDS"], environ["SEEN"]
    for topic in [*ENDS[:-2], "photos", "keyed", "forwarded_keys", "middle"]:
        stack.create_topic(f"{name}-{topic}", partitions=7 if topic == "forwarded_keys" else 2)
    stack.create_topic(seen, partitions=1)
    worker = start_worker("sending_chains", ON_COMMIT=on_commit).ready()
    total = 3 * (len(ENDS) + 1 + 2)
    reports = values(read_until(stack.bootstrap, seen, lambda found: len(found) >= total))
    texts = {"ada": "ada" * 5000, "ben": "ben" * 5000, "cyd": "cyd"}
    sha256 = {of: hashlib.sha256(text.encode()).hexdigest() for of, text in texts.items()}
    for end in ENDS:
        found = [report for report in reports if report["end"] == end]
        assert {report["name"]: report["sha256"] for report in found} == sha256, end
        keys = {report["key"] for report in found}
        assert keys == {
            "derived": {"another"}, "grouped": set(texts), "sunk": {None}, "sunk_in_agent": {None},
        }.get(end, {"key"}), end  # fmt: skip
        headers = {"derived": ["more"], "sunk": [], "sunk_in_agent": []}.get(end, ["of"])
        assert all(report["headers"] == headers for report in found), end
    called = {report["name"]: report["size"] for report in reports if report["end"] == "callable"}
    assert called == {of: len(text) for of, text in texts.items()}
    # a large key that is passed on leads to the same partition as the key itself
    records = read_until(
        stack.bootstrap, f"{name}-forwarded_keys", lambda found: len(found) >= 2 * 3
    )
    where = {(dict(record.headers)["of"], record.partition) for record in records}
    assert len(where) == 3
    assert worker.stop() == 0
    uploads = Counter(
        found["Key"].split("/")[1].removeprefix(f"{name}-")
        for found in client.list_objects_v2(
            Bucket=stack.bucket, Prefix=environ["FAUST_S3_URL"].rpartition("/")[2]
        )["Contents"]
    )
    assert uploads == UPLOADS | {"forwarded_keys": 3 + 2}


#: Requests or replies that :mod:`sending_rpc` makes with values of 5 and of 5000 characters.
REPLIES = {"echo": 2 * 2 + 4 * 6, "photo": 2, "blob": 2, "plain": 2}


@pytest.mark.parametrize("default", ["", "json|s3"])
def test_asking_agents(
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
    start_program: Callable[..., Process],
    default: str,
) -> None:
    """Large requests and large replies, asked by the worker itself and by a client."""
    name, seen = environ["RECORDS"], environ["SEEN"]
    for topic in (*REPLIES, "replies-to-worker", "replies-to-client"):
        stack.create_topic(f"{name}-{topic}", partitions=1)
    stack.create_topic(seen, partitions=1)
    worker = start_worker("sending_rpc", WHO="worker", DEFAULT=default).ready()
    client = start_program("sending_rpc", WHO="client", DEFAULT=default)
    reports = values(read_until(stack.bootstrap, seen, lambda found: len(found) >= 2))
    assert {report["who"]: report["problem"] for report in reports} == {
        "worker": None, "client": None,
    }, worker.output[-3000:] + client.output[-3000:]  # fmt: skip
    assert client.wait() == 0, client.output
    assert worker.stop() == 0

    def claims(topic: str, count: int) -> int:
        records = read_until(stack.bootstrap, f"{name}-{topic}", lambda found: len(found) >= count)
        assert len(records) == count
        return sum(is_envelope(record.value) for record in records)

    for topic, count in REPLIES.items():
        asked = 2 * (count + 2 * (topic == "echo"))  # by two, and what was cast
        large = 0 if topic == "plain" else asked // 2
        assert claims(topic, asked) == large
    for who in ("worker", "client"):
        # measure's are small; those of an agent whose topic is plain are plain
        large = (REPLIES["echo"] + REPLIES["photo"] + bool(default) * REPLIES["plain"]) // 2
        assert claims(f"replies-to-{who}", sum(REPLIES.values())) == large


#: Records of :mod:`sending_twice` on each of its topics.
TWICE = {"notes": 20, "copies": 60, "words": 40, "groups": 20, "blobs": 22, "middle": 20}


def test_small_records_are_the_same_byte_for_byte(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker]
) -> None:
    """One app with ``S3(app)`` and without: keys, values, headers and partitions on its topics."""
    found = []
    for with_s3 in ("", "yes"):
        names = {
            variable: f"{environ[variable]}-{with_s3 or 'no'}" for variable in ("RECORDS", "APP_ID")
        }
        for topic in TWICE:
            stack.create_topic(f"{names['RECORDS']}-{topic}", partitions=3)
        worker = start_worker("sending_twice", WITH_S3=with_s3, TIMESTAMP=str(TIMESTAMP), **names)
        worker.wait_for("sent all")
        records = {
            name: read_until(
                stack.bootstrap,
                f"{names['RECORDS']}-{name}",
                lambda records, count=count: len(records) >= count,  # type: ignore[misc]
            )
            for name, count in TWICE.items()
        }
        assert worker.stop() == 0
        found.append(
            {
                (name, partition): [
                    (
                        record.key,
                        record.value,
                        record.headers,
                        record.timestamp if record.timestamp < 1000 * (TIMESTAMP + 100) else None,
                        record.timestamp_type,
                    )
                    for record in records[name]
                    if record.partition == partition
                ]
                for name in TWICE
                for partition in range(3)
            }
        )
    without, with_it = found
    assert sum(map(len, without.values())) == sum(TWICE.values())
    assert {partition for (_, partition), records in without.items() if records} == {0, 1, 2}
    assert with_it == without


@pytest.mark.parametrize("where", ["worker", "client"])
def test_a_producer_in_a_thread_is_refused(
    start_worker: Callable[..., Worker], start_program: Callable[..., Process], where: str
) -> None:
    """``producer_threaded=True`` gets one sentence and an exit code."""
    more = {"TIMESTAMP": str(TIMESTAMP), "THREADED": "yes", "REPLIES": "yes"}
    process = (
        start_worker("sending_ways", **more)
        if where == "worker"
        else start_program("sending_program", where, **more)
    )
    assert process.wait() != 0
    assert "producer_threaded=True is set on the app" in process.output
    assert "Worker ready" not in process.output


def test_a_refused_upload_prevents_the_commit_that_publishes(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker], client: Any
) -> None:
    """With ``stream_publish_on_commit``, too, nothing is committed that was not published."""
    for topic in ("RECORDS", "SEEN"):
        stack.create_topic(environ[topic], partitions=1)
    numbers = list(range(6))
    produce(stack.bootstrap, environ["RECORDS"], *((None, b"%d" % number) for number in numbers))
    keys = stack.reader_keys
    on_commit = {"ON_COMMIT": "yes", "SIZES": "5 5000"}
    refused = {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
    worker = start_worker("numbers_app", **on_commit, **refused)
    assert worker.wait(90) != 0, worker.output
    assert "AccessDenied" in worker.output

    worker = start_worker("numbers_app", **on_commit).ready()
    records = read_until(
        stack.bootstrap, environ["SEEN"], lambda found: len({record.value for record in found}) >= 6
    )
    sent = [json.loads(payload(client, record.value)) for record in records]
    assert {(number, len(text)) for number, text in sent} == {
        (number, 5000 if number % 2 else 5) for number in numbers
    }
    assert worker.stop() == 0
