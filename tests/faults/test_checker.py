"""The campaign's judge notices what it is there for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from checker import Result, Sent, Source, Verdict, check
from payloads import LARGEST, SMALLEST, digest_of_result, key_of, payload_of

SENT = [Sent(n, b"ab"[n % 2 :][:1], Source(n % 2, n // 2)) for n in range(10)]


def digest(number: int) -> str:
    return f"digest of {number}"


RESULTS = [Result(one.number, one.key, one.source, digest(one.number)) for one in SENT]


def judge(results: list[Result], acknowledged: range = range(10)) -> Verdict:
    return check(SENT, results, acknowledged=acknowledged, digest=digest)


def test_all_is_well() -> None:
    """Every record once, in order."""
    assert judge(RESULTS).faults(exactly_once=True) == {}


def test_order_counts_within_a_key() -> None:
    """Keys may overtake each other."""
    assert judge([*RESULTS[1::2], *RESULTS[::2]]).faults(exactly_once=True) == {}


def test_a_lost_record() -> None:
    """One has no result."""
    assert judge([*RESULTS[:4], *RESULTS[5:]]).faults() == {"lost": [4]}


def test_a_record_that_never_arrived() -> None:
    """Its sender was told that it had."""
    assert judge(RESULTS, acknowledged=range(11)).faults() == {"lost": [10]}


def test_a_record_that_lies_there_twice() -> None:
    """A sender that tried again; both have to be processed."""
    again = Sent(3, b"b", Source(1, 5))
    verdict = check([*SENT, again], RESULTS, digest=digest)
    assert verdict.faults() == {"lost": [3]}
    result = replace(RESULTS[3], source=again.source)
    assert check([*SENT, again], [*RESULTS, result], digest=digest) == Verdict()


def test_a_repeated_record() -> None:
    """Which only exactly-once forbids."""
    verdict = judge([*RESULTS, RESULTS[2], RESULTS[2]])
    assert verdict.repeated == [2, 2]
    assert verdict.faults() == {}
    assert verdict.faults(exactly_once=True) == {"repeated": [2, 2]}


def test_a_reordered_record() -> None:
    """The first result of one comes after a later record's with the same key."""
    assert judge([RESULTS[2], RESULTS[0], *RESULTS[1:]]).faults() == {"reordered": [0]}


def test_repetitions_may_go_back() -> None:
    """What is delivered again starts at an earlier record."""
    assert judge([*RESULTS[:6], *RESULTS[2:]]).faults() == {}


def test_a_corrupted_record() -> None:
    """A result has other bytes, be it the first or a repetition."""
    wrong = replace(RESULTS[7], digest="of something else")
    assert judge([*RESULTS[:7], wrong, *RESULTS[8:]]).faults() == {"corrupted": [7]}
    assert judge([*RESULTS, wrong]).faults() == {"corrupted": [7]}


@pytest.mark.parametrize("change", [{"key": b"x"}, {"number": 99}, {"source": Source(9, 9)}])
def test_a_foreign_record(change: dict[str, object]) -> None:
    """A result of nothing that was sent."""
    stray = replace(RESULTS[0], **change)
    assert judge([*RESULTS, stray]).faults() == {"foreign": [stray.number]}


def test_records_follow_from_the_seed() -> None:
    """The same seed gives the same records, of all sizes."""
    sizes = [len(payload_of(7, number)) for number in range(60)]
    assert min(sizes) >= SMALLEST
    assert max(sizes) <= LARGEST
    assert sum(size > 100_000 for size in sizes) in range(15, 45)
    assert payload_of(7, 3) == payload_of(7, 3) != payload_of(8, 3)
    assert digest_of_result(7, 3) != digest_of_result(7, 4)
    assert key_of(3) == key_of(27) != key_of(4)
