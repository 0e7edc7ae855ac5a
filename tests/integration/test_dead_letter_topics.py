"""Dead letters of real workers, and putting them back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from workers import APPS, Process, Worker, produce, read_until, values

from faust_s3.claim import MAGIC, Claim, parse
from faust_s3.letters import Letter

MALFORMED = MAGIC + b"\x09nonsense"


class Case:
    """One app on topics of its own, and what is done to it."""

    def __init__(self, stack: Any, environ: dict[str, str], client: Any, path: Path) -> None:
        self.stack, self.environ, self.client, self.path = stack, environ, client, path
        self.letters_topic = f"{environ['APP_ID']}-dead-letters"
        stack.create_topic(environ["RECORDS"], partitions=2)
        stack.create_topic(f"{environ['RECORDS']}-others", partitions=1)
        stack.create_topic(environ["SEEN"], partitions=1)
        stack.create_topic(self.letters_topic, partitions=2)

    def send(self, *names: str) -> dict[str, Any]:
        """Send records, and return them as they lie on the topic, by name."""
        script = str(APPS / "letters_app.py")
        sender = Process(script, "produce", *names, environ=self.environ, cwd=self.path)
        assert sender.wait() == 0, sender.output
        found = read_until(
            self.stack.bootstrap, self.environ["RECORDS"], lambda found: len(found) >= len(names)
        )
        return {record.key.decode(): record for record in found}

    def lose(self, record: Any) -> Callable[[], None]:
        """Delete a record's object; return what restores it."""
        claim = parse(record.value)
        assert isinstance(claim, Claim)
        place = {"Bucket": claim.bucket, "Key": claim.key}
        payload = self.client.get_object(**place)["Body"].read()
        self.client.delete_object(**place)
        return lambda: self.client.put_object(**place, Body=payload)

    def change(self, record: Any) -> None:
        claim = parse(record.value)
        assert isinstance(claim, Claim)
        self.client.put_object(Bucket=claim.bucket, Key=claim.key, Body=bytes(claim.stored_size))

    def letters(self, count: int) -> list[Letter]:
        records = read_until(
            self.stack.bootstrap, self.letters_topic, lambda found: len(found) >= count
        )
        found = [Letter.loads(each.key, each.value, each.headers) for each in records]
        return [each for each in found if each is not None]

    def seen(self, count: int) -> list[Any]:
        return values(
            read_until(self.stack.bootstrap, self.environ["SEEN"], lambda got: len(got) >= count)
        )

    def faust(self, *args: str) -> tuple[int, str]:
        """Run ``faust -A letters_app ...``, and return its code and output."""
        command = Process(
            *("-m", "faust", "--datadir", str(self.path), "-A", "letters_app", *args),
            environ=self.environ,
            cwd=self.path,
        )
        return command.wait(), command.output

    def ends(self, topic: str) -> dict[int, int]:
        """Return where the partitions of a topic end."""

        async def ask() -> dict[int, int]:
            consumer = AIOKafkaConsumer(bootstrap_servers=self.stack.bootstrap)
            await consumer.start()
            try:
                ends = await consumer.end_offsets([TopicPartition(topic, n) for n in range(2)])
                return {place.partition: offset for place, offset in ends.items()}
            finally:
                await consumer.stop()

        return asyncio.run(ask())


@pytest.fixture
def case(stack: Any, environ: dict[str, str], client: Any, tmp_path: Path) -> Case:
    return Case(stack, environ, client, tmp_path)


def test_bad_claims_and_putting_one_back(case: Case, start_worker: Callable[..., Worker]) -> None:
    """The others arrive in order; after the object was restored, its record arrives whole."""
    sent = case.send("a", "missing", "b", "changed", "c")
    restore = case.lose(sent["missing"])
    case.change(sent["changed"])
    produce(case.stack.bootstrap, case.environ["RECORDS"], (b"malformed", MALFORMED))
    fills = MALFORMED + bytes(999_800)
    produce(case.stack.bootstrap, case.environ["RECORDS"], (b"fills", fills))
    worker = start_worker("letters_app").ready()
    letters = {(letter.key or b"").decode(): letter for letter in case.letters(4)}
    assert {name: letter.error for name, letter in letters.items()} == {
        "missing": "ObjectMissing",
        "changed": "IntegrityError",
        "malformed": "ClaimError",
        "fills": "ClaimError",
    }
    assert [report["headers"][0][1] for report in case.seen(3)] == ["a", "b", "c"]
    letter, record = letters["missing"], sent["missing"]
    assert (letter.value, letter.headers) == (record.value, tuple(record.headers))
    assert (letter.partition, letter.offset) == (1, record.offset)
    assert letter.timestamp == record.timestamp
    assert record.timestamp % 1000 == 500
    assert letters["fills"].stored == ("value",)

    before = case.ends(case.environ["RECORDS"]), case.ends(case.letters_topic)
    code, output = case.faust("s3-replay", "--dry-run")
    assert code == 0
    assert output.count("ClaimError") == 2
    code, output = case.faust("--json", "s3-replay", "--dry-run", "--error", "ObjectMissing")
    (row,) = json.loads(output[output.index("[{") :])
    assert (row["topic"], row["partition"], row["offset"]) == (
        case.environ["RECORDS"], 1, record.offset,
    )  # fmt: skip
    assert (case.ends(case.environ["RECORDS"]), case.ends(case.letters_topic)) == before

    restore()
    chosen = ("s3-replay", "--error", "ObjectMissing")
    code, output = case.faust(*chosen)
    assert (code, "put back 1 of 1 dead letters" in output) == (0, True), output
    report = case.seen(4)[3]
    assert report == {
        "topic": "records",
        "partition": 1,
        "timestamp": record.timestamp,
        "headers": [["name", "missing"], ["name", "again"]],
        "size": 5000 * len("missing"),
    }
    code, output = case.faust(*chosen)
    assert (code, "put back 0 of 0 dead letters" in output) == (0, True), output
    assert "1 were put back before" in output
    code, output = case.faust(*chosen, "--again")
    assert (code, "put back 1 of 1 dead letters" in output) == (0, True), output
    assert case.seen(5)[4] == report
    assert worker.stop() == 0
    assert worker.output.count("put a record whose claim cannot be redeemed") == 4

    # What lay in the store comes back, too: by itself it still cannot be redeemed.
    code, output = case.faust("s3-replay")
    assert (code, "put back 3 of 3 dead letters" in output) == (0, True), output
    again = read_until(
        case.stack.bootstrap,
        case.environ["RECORDS"],
        lambda found: sum(record.value == fills for record in found) == 2,
    )
    assert {record.key for record in again if record.value == fills} == {b"fills"}


def test_a_worker_that_is_killed(case: Case, start_worker: Callable[..., Worker]) -> None:
    """Killed between a dead letter and the commit, its successor writes the letter again."""
    sent = case.send("a", "lost", "b")
    case.lose(sent["lost"])
    worker = start_worker("letters_app", COMMIT_INTERVAL="3600").ready()
    assert len(case.letters(1)) == 1
    case.seen(2)
    worker.kill()
    start_worker("letters_app").ready()
    letters = case.letters(2)
    assert [letter.offset for letter in letters] == [sent["lost"].offset] * 2
    assert [report["headers"][0][1] for report in case.seen(4)] == ["a", "b"] * 2


def test_agents_differ(case: Case, start_worker: Callable[..., Worker]) -> None:
    """The function of one agent skips and stops the worker, where the app writes letters."""
    others = f"{case.environ['RECORDS']}-others"
    bootstrap = case.stack.bootstrap
    produce(bootstrap, others, (b"skip", MALFORMED), (b"good", b"good"))
    produce(bootstrap, case.environ["RECORDS"], (b"letter", MALFORMED))
    worker = start_worker("letters_app").ready()
    assert [letter.key for letter in case.letters(1)] == [b"letter"]
    assert case.seen(1) == [{"topic": "others"}]
    produce(bootstrap, others, (b"stop", MALFORMED))
    assert worker.wait(90) != 0
    assert case.ends(case.letters_topic) in ({0: 1, 1: 0}, {0: 0, 1: 1})


def test_mistakes(case: Case) -> None:
    """One sentence, and a code."""
    for args, code, says in (
        (("--offset", "7"), 2, "--offset needs --partition"),
        (("--error", "Nonsense"), 2, "'Nonsense' is not one of"),
        (("--since", "yesterday"), 2, "must be like 2026-11-25"),
    ):
        assert (found := case.faust("s3-replay", *args))[0] == code, found[1]
        assert says in found[1]
        assert "Traceback" not in found[1]
    code, output = case.faust("s3-replay", "--dry-run")
    assert (code, "no dead letters to put back" in output) == (0, True), output


def test_a_topic_that_is_gone(case: Case) -> None:
    """Nothing is put back, and the sentence says where the letter comes from."""
    headers = [
        *(("faust_s3.letter", b"1"), ("faust_s3.topic", b"gone"), ("faust_s3.partition", b"0")),
        *(("faust_s3.offset", b"7"), ("faust_s3.error", b"ClaimError"), ("faust_s3.reason", b"x")),
        *(("faust_s3.app", b"test"), ("faust_s3.at", b"2026-11-25T10:30:00+00:00")),
    ]
    produce(case.stack.bootstrap, case.letters_topic, (b"k", MALFORMED), headers=headers)
    code, output = case.faust("s3-replay")
    assert code == 1
    assert "partition 0 of topic 'gone', which is not there" in output
    assert "Traceback" not in output
    assert sum(case.ends(case.letters_topic).values()) == 1


def test_what_is_no_letter(case: Case) -> None:
    """Records of another kind on the topic are left alone."""
    produce(case.stack.bootstrap, case.letters_topic, (b"k", b"something else"))
    code, output = case.faust("s3-replay")
    assert (code, "put back 0 of 0" in output) == (0, True), output
