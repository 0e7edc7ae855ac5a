"""Every way in which Faust reads, through real workers on both kinds of Faust's loops."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from apps.reading_photos import COUNT, pixels
from workers import Worker, committed, produce, read_until, values

from faust_s3.claim import MAGIC, Inline
from faust_s3.local import SeaweedFS

ALL = list(range(COUNT))
LARGE = [number for number in ALL if number % 2]
#: What each way is expected to see, in order.
IN_ORDER = {
    **dict.fromkeys(
        ["values", "events", "items", "enumerate", "take", "take_events", "take_with_timestamp",
         "noack", "noack_take", "processors", "through_channel", "combine", "echo", "same_1",
         "same_2", "typed", "untyped", "no_model", "schema", "by_header", "registry", "keys"],
        ALL,
    ),
    "filter": LARGE,
    "allow_empty": [*ALL[:3], None, *ALL[4:]],
}  # fmt: skip
#: The same for those that read from several partitions or topics, or by several actors.
IN_ANY_ORDER = {
    **dict.fromkeys(
        ["group_by", "group_by_callable", "group_by_topic", "through", "through_topic",
         "through_take", "echoed", "concurrency", "isolated"],
        ALL,
    ),
    "names": [*ALL, *ALL],
}  # fmt: skip
WAYS = {**IN_ORDER, **IN_ANY_ORDER}
#: Not all topics are called after their way.
TOPICS = {*WAYS, "same", "types", "one", "two", "other"} - {"same_1", "same_2", "typed", "untyped"}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Readings:
    """What one worker has read.

    Attributes:
        reports: By way, in the order in which they came.
        downloads: Requests for each object.
    """

    reports: dict[str, list[dict[str, Any]]]
    downloads: dict[str, int]

    def numbers(self, way: str) -> list[int | None]:
        return [report["number"] for report in self.reports[way]]

    def __getitem__(self, way: str) -> dict[int, dict[str, Any]]:
        return {report["number"]: report for report in self.reports[way]}


@pytest.fixture(scope="module", params=["compiled", "pure"])
def readings(
    stack: Any, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Readings:
    """One worker that reads in every way, on Faust's compiled loops or its pure-Python ones."""
    unique = uuid4().hex[:8]
    environ = {
        **stack.environ,
        "KAFKA_BROKER": stack.broker,
        "APP_ID": f"app-{unique}",
        "RECORDS": f"records-{unique}",
        "SEEN": f"seen-{unique}",
        "FAUST_S3_URL": f"s3://{stack.bucket}/{unique}",
        "NO_CYTHON": "1" if request.param == "pure" else "",
    }
    stack.create_topic(environ["SEEN"], partitions=1)
    for topic in TOPICS:
        stack.create_topic(f"{environ['RECORDS']}-{topic}", partitions=2)
    expected = sum(map(len, WAYS.values()))
    worker = Worker("reading_ways", environ=environ, datadir=tmp_path_factory.mktemp("worker"))
    try:
        found = read_until(
            stack.bootstrap, environ["SEEN"], lambda records: len(records) >= expected
        )
        worker.wait_for("sent all")
        assert worker.stop() == 0
    finally:
        if worker.running:
            worker.kill()
    assert f"loops: {request.param}" in worker.output
    reports = defaultdict(list)
    for report in values(found):
        reports[report.pop("way")].append(report)
    _, _, told = worker.output.partition("downloads: ")
    return Readings(reports, json.JSONDecoder().raw_decode(told)[0])


@pytest.mark.parametrize("way", WAYS)
def test_values_are_whole(readings: Readings, way: str) -> None:
    """Each value once, to the last byte, and in order where there is one."""
    numbers = readings.numbers(way)
    if way in IN_ORDER:
        assert numbers == IN_ORDER[way]
    else:
        assert sorted(numbers, key=str) == sorted(IN_ANY_ORDER[way], key=str)
    more = "ab" if way == "processors" else ""
    for number, report in readings[way].items():
        assert report["sha256"] == (None if number is None else digest(pixels(number) + more))


@pytest.mark.parametrize("way", ["group_by", "group_by_callable", "group_by_topic"])
def test_group_by_sees_whole_values(readings: Readings, way: str) -> None:
    """The new key comes from the value, not from a claim."""
    for number, report in readings[way].items():
        assert report["key"] == (f"{number}" if "callable" in way else f"album-{number % 3}")


def test_what_comes_with_values(readings: Readings) -> None:
    """Keys, indexes, times, topics, types and partitions are what they are without us."""
    for number in ALL:
        assert readings["items"][number]["key"] == f"{number}"
        assert readings["enumerate"][number]["index"] == number + 1
        assert readings["take_with_timestamp"][number]["sent"] is True
        assert readings["keys"][number]["key"] == digest(f"{number}" * 2000)
        assert readings["typed"][number]["type"] == "Photo"
        assert readings["untyped"][number]["type"] == "bytes"
        isolated = readings["isolated"][number]
        assert isolated["partition"] == isolated["own"] == number % 2
    for topic in ("one", "two"):
        mine = [each["number"] for each in readings.reports["names"] if each["topic"] == topic]
        assert mine == ALL


def test_one_download_for_each_object(readings: Readings) -> None:
    """However many agents read it, whatever its type is to them, and if it is passed on."""
    assert set(readings.downloads.values()) == {1}
    topics = Counter(key.split("/")[1].split("-", 2)[2] for key in readings.downloads)
    for topic in ("same", "types", "through", "through_topic", "group_by", "group_by_topic"):
        assert topics[topic] == len(LARGE)
    assert topics["keys"] == len(LARGE) + COUNT
    passed_on = {"passed", "passed-by-name", "passed-and-taken", "grouped"}
    assert not passed_on & set(topics)


def test_streams_outside_agents(
    stack: Any, environ: dict[str, str], start_worker: Callable[..., Worker]
) -> None:
    """Of a service that starts before the worker subscribes."""
    for topic in (environ["RECORDS"], environ["SEEN"]):
        stack.create_topic(topic, partitions=1)
    worker = start_worker("reading_streams")

    def all_seen(records: list[Any]) -> bool:
        return {report["size"] for report in values(records)} == {10, 5000}

    read_until(stack.bootstrap, environ["SEEN"], all_seen)
    assert worker.stop() == 0


# -- nothing is acknowledged that was not done


def copied(stack: Any, environ: dict[str, str], numbers: set[int]) -> None:
    """Wait until these have been copied."""

    def all_there(records: list[Any]) -> bool:
        return {int(record.key) for record in records} >= numbers

    read_until(stack.bootstrap, environ["SEEN"], all_there)


@pytest.fixture
def copying(stack: Any, environ: dict[str, str]) -> dict[str, str]:
    """The environment of an app that copies numbers, and its topics."""
    for topic in (environ["RECORDS"], environ["SEEN"], f"{environ['SEEN']}-others"):
        stack.create_topic(topic, partitions=1)
    return environ


@pytest.mark.parametrize("case", ["batch_soon", "actors"])
def test_commits_wait_for_uploads(
    stack: Any, copying: dict[str, str], start_worker: Callable[..., Worker], case: str
) -> None:
    """While S3 is away nothing is committed whose copy is still to be uploaded."""
    produce(stack.bootstrap, copying["RECORDS"], *((None, b"%d" % each) for each in range(4)))
    with SeaweedFS(bucket=stack.bucket) as server:
        more = {"FAUST_S3_ENDPOINT_URL": server.endpoint_url, "FAUST_S3_SEND_TIMEOUT": "0.001"}
        server.kill()
        worker = start_worker("reading_acks", FAUST_S3_CHECK_ON_START="no", **more, CASE=case)
        worker.wait_for("committed what can be")
        worker.kill()
    assert committed(stack.bootstrap, copying["APP_ID"], copying["RECORDS"]) in (None, 0)


@pytest.mark.parametrize("case", ["skip_take", "skip_noack"])
def test_what_is_skipped_is_acknowledged_in_its_turn(
    stack: Any, copying: dict[str, str], start_worker: Callable[..., Worker], case: str
) -> None:
    """A bad claim between events that are still to be processed does not acknowledge these."""
    bad = MAGIC + b"\x09nonsense"
    produce(stack.bootstrap, copying["RECORDS"], (None, b"0"), (None, bad), (None, b"2"))
    worker = start_worker("reading_acks", CASE=case)
    worker.wait_for("committed what can be")
    worker.kill()
    assert "skipped a record" in worker.output
    assert committed(stack.bootstrap, copying["APP_ID"], copying["RECORDS"]) in (None, 0)


def test_batches_wait_for_the_store(
    stack: Any, copying: dict[str, str], start_worker: Callable[..., Worker]
) -> None:
    """With ``take``, too, an agent that sends waits for as long as S3 is away."""
    produce(stack.bootstrap, copying["RECORDS"], *((None, b"%d" % each) for each in range(4)))
    with SeaweedFS(bucket=stack.bucket) as server:
        more = {"FAUST_S3_ENDPOINT_URL": server.endpoint_url, "FAUST_S3_SEND_TIMEOUT": "0.001"}
        server.kill()
        worker = start_worker("reading_acks", FAUST_S3_CHECK_ON_START="no", **more, CASE="batch")
        worker.wait_for("is unavailable")
        server.start()
        copied(stack, copying, {0, 1, 2, 3})
        assert worker.stop() == 0


def test_batches_are_delivered_again(
    stack: Any, copying: dict[str, str], start_worker: Callable[..., Worker]
) -> None:
    """With ``take``, too, a refused upload stops the worker, and the events come again."""
    produce(stack.bootstrap, copying["RECORDS"], *((None, b"%d" % each) for each in range(4)))
    keys = stack.reader_keys
    worker = start_worker("reading_acks", CASE="batch",
                          AWS_ACCESS_KEY_ID=keys.access_key,
                          AWS_SECRET_ACCESS_KEY=keys.secret_key)  # fmt: skip
    assert worker.wait(90) != 0
    assert "AccessDenied" in worker.output
    worker = start_worker("reading_acks", CASE="batch")
    copied(stack, copying, {0, 1, 2, 3})
    assert worker.stop() == 0


def test_claims_are_not_passed_on_to_plain_readers(
    stack: Any, copying: dict[str, str], start_worker: Callable[..., Worker]
) -> None:
    """One sentence and an exit code, instead of a claim that would be no JSON and be lost."""
    produce(stack.bootstrap, copying["RECORDS"], (None, Inline(1, b"0").dumps()))
    worker = start_worker("reading_acks", CASE="through_plain")
    assert worker.wait(90) != 0
    assert "which this app reads without offloading" in worker.output
    assert committed(stack.bootstrap, copying["APP_ID"], copying["RECORDS"]) in (None, 0)
