"""Dead letters as records: nothing of the record is changed, and everything fits."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st
from worlds import message

from faust_s3 import ObjectMissing
from faust_s3.letters import Letter, fitted, letter_of, receipt, replayed_offset, whole

LIMIT = 10_000
ERROR = ObjectMissing("there is no such object", bucket="bucket", key="prefix/x")
DOCUMENT = (Path(__file__).parents[2] / "docs" / "dead-letters.md").read_text(encoding="utf-8")

headers = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=4)


def letter(
    key: bytes | None = b"key",
    value: bytes | None = b"value",
    headers: Iterable[tuple[str, bytes | None]] = (),
) -> Letter:
    came: Any = message(value, key=key, offset=7)
    came.headers = list(headers)
    return letter_of(came, ERROR, app="test")


class Parts:
    """A store of parts, by claims that are no longer than real ones."""

    def __init__(self) -> None:
        self.parts: dict[bytes, bytes] = {}

    async def store(self, part: bytes) -> bytes:
        claim = f"{len(self.parts)}".rjust(1400).encode()
        self.parts[claim] = part
        return claim

    async def load(self, claim: bytes) -> bytes:
        return self.parts[claim]


def size_of(written: Letter) -> int:
    """Return what aiokafka compares with max_request_size."""
    size: int = DefaultRecordBatchBuilder.estimate_size_in_bytes(
        written.key, written.value, list(written.dumps())
    )
    return size


@given(key=st.none() | st.binary(), value=st.none() | st.binary(), headers=headers)
def test_there_and_back(key: Any, value: Any, headers: Any) -> None:
    """Key, value and headers are the record's; repeated and missing ones, too."""
    written = letter(key, value, headers)
    assert (written.key, written.value) == (key, value)
    assert list(written.dumps())[: len(headers)] == headers
    read = Letter.loads(written.key, written.value, written.dumps())
    assert read is not None
    assert read.at <= datetime.now(timezone.utc)
    assert abs(read.at - written.at).total_seconds() < 0.001
    assert read.dumps() == written.dumps()


def test_what_it_says() -> None:
    """Where the record lay, when it was written, what is wrong, with which object."""
    said = dict(letter().dumps())
    del said["faust_s3.at"]
    assert said == {
        "faust_s3.letter": b"1",
        "faust_s3.topic": b"photos",
        "faust_s3.partition": b"0",
        "faust_s3.offset": b"7",
        "faust_s3.timestamp": b"1000",
        "faust_s3.error": b"ObjectMissing",
        "faust_s3.reason": b"there is no such object",
        "faust_s3.bucket": b"bucket",
        "faust_s3.key": b"prefix/x",
        "faust_s3.app": b"test",
    }


def test_every_header_is_documented() -> None:
    """In docs/dead-letters.md, by its name."""
    for name, _ in (*letter().dumps(), *receipt(0)):
        assert f"`{name}`" in DOCUMENT


def test_a_letter_of_a_letter() -> None:
    """Its headers are those of a record like any other."""
    first = letter(headers=[("a", b"1")])
    second = letter(headers=first.dumps())
    read = Letter.loads(second.key, second.value, second.dumps())
    assert read is not None
    assert read.headers == first.dumps()


def test_long_reasons_are_cut() -> None:
    """In whole characters."""
    came = message(b"value")
    written = letter_of(came, ObjectMissing("€" * 1000), app="test")
    assert written.reason == "€" * 333


def test_what_is_no_letter() -> None:
    """Records of others on the topic are left alone, and so are receipts."""
    for headers in ((), (("a", b"1"),), receipt(7)):
        assert Letter.loads(b"key", b"value", headers) is None


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("faust_s3.letter", b"2", "version b'2' of dead letters is unknown"),
        ("faust_s3.topic", None, "the header faust_s3.topic is missing"),
        ("faust_s3.offset", b"seven", "invalid literal"),
        ("faust_s3.at", b"yesterday", "Invalid isoformat"),
    ],
)
def test_letters_that_cannot_be_read(name: str, value: bytes | None, says: str) -> None:
    """A later version's, or broken ones: an error, no guess."""
    pairs = [(name, value) if pair[0] == name else pair for pair in letter().dumps()]
    with pytest.raises(ValueError, match=says):
        Letter.loads(b"key", b"value", [pair for pair in pairs if pair[1] is not None])


@pytest.mark.parametrize(("offset", "headers"), [(7, receipt(7)), (None, ()), (None, [("a", b"7")]),
    (None, [("faust_s3.replayed", b"x")]), (None, [*receipt(7), ("a", b"7")])])  # fmt: skip
def test_receipts(offset: int | None, headers: Any) -> None:
    """A receipt is that and nothing else."""
    assert replayed_offset(headers) == offset


# -- under the limit


async def test_what_fits_is_not_touched() -> None:
    """No request is made for it."""
    parts = Parts()
    assert await fitted(letter(), limit=LIMIT, store=parts.store) == letter_as(letter())
    assert not parts.parts


def letter_as(other: Letter) -> Any:
    """Equal to a letter made at another time."""

    class Same:
        def __eq__(self, found: object) -> bool:
            return isinstance(found, Letter) and found.value == other.value and not found.stored

        __hash__ = None  # type: ignore[assignment]

    return Same()


@pytest.mark.parametrize("key", [0, LIMIT // 2, LIMIT])
@pytest.mark.parametrize("value", [0, LIMIT // 2, LIMIT - 500, LIMIT])
@pytest.mark.parametrize("header", [0, LIMIT // 2, LIMIT])
async def test_whatever_was_in_the_record(key: int, value: int, header: int) -> None:
    """It is below the limit, and comes back as it was."""
    parts = Parts()
    written = letter(bytes(key), bytes(value), [("name", bytes(header)), ("none", None)])
    small = await fitted(written, limit=LIMIT, store=parts.store)
    assert size_of(small) <= LIMIT
    read = Letter.loads(small.key, small.value, small.dumps())
    assert read is not None
    found = await whole(read, parts.load)
    assert (found.key, found.value, found.headers) == (written.key, written.value, written.headers)
    assert found.stored == ()


async def test_the_largest_part_goes_first() -> None:
    """One is enough, if it is."""
    parts = Parts()
    written = letter(bytes(1000), bytes(LIMIT), [("name", bytes(100))])
    small = await fitted(written, limit=LIMIT, store=parts.store)
    assert small.stored == ("value",)
    assert (small.key, small.headers) == (written.key, written.headers)


async def test_a_limit_below_everything() -> None:
    """It is tried, and Kafka's to refuse."""
    small = await fitted(letter(), limit=100, store=Parts().store)
    assert sorted(small.stored) == ["headers", "key", "value"]
