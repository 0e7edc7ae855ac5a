"""A slice of the fuzzing run (``tox run -e fuzz``), and that it gets where errors are raised."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from fuzz.mutations import GOLDEN
from fuzz.outcomes import Readers, Surprise, outcomes

from faust_s3 import claim

#: What only writers are told.
WRITERS = {"the claim's digest is not the one that its key repeats", ".* does not fit N bits"}


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    made = Readers()
    yield made
    made.blocking.close()


@pytest.fixture(scope="module")
def found(readers: Readers) -> Counter[str]:
    return outcomes(readers, "slice", 50_000)


def sentences() -> set[str]:
    """Return the sentences of all ``ClaimError`` in the parser, as regular expressions."""
    found = set()
    for node in ast.walk(ast.parse(inspect.getsource(claim))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ClaimError":
            parts = getattr(node.args[0], "values", [node.args[0]])
            found.add(
                "".join(
                    re.sub(r"\d+", "N", re.escape(part.value).replace("\\ ", " "))
                    if isinstance(part, ast.Constant)
                    else ".*"
                    for part in parts
                )
            )
    return found


def test_every_refusal_is_reached(found: Counter[str]) -> None:
    """The mutations reach each sentence with which the parser refuses an envelope."""
    refused = [outcome.removeprefix("ClaimError: ") for outcome in found]
    missing = {
        sentence
        for sentence in sentences() - WRITERS
        if not any(re.fullmatch(sentence, outcome) for outcome in refused)
    }
    assert not missing
    assert sentences() > WRITERS


@pytest.mark.parametrize(
    "outcome",
    [
        "payload: the bytes as they are",
        "payload: inline",
        "payload: inline, decompressed",
        "payload: the object's",
        "ClaimError: the claim names a place outside",
        "ClaimError: the claim's bucket has N bytes; it must have N to N",
        "ClaimError: the claim's object key has N bytes; it must have N to N",
        "ClaimError: the claim's bucket is not UTF-N",
        "ClaimError: the claim's object key is not UTF-N",
        "ClaimError: the inline envelope is malformed",
        "PayloadTooLarge: a claim for more than max_payload",
        "PayloadTooLarge: an inline envelope for more than max_payload",
        "ObjectMissing: a claim on an object that is not there",
        "IntegrityError: a claim with another size or digest than its object",
    ],
)
def test_every_other_outcome_is_reached(found: Counter[str], outcome: str) -> None:
    """The mutations reach everything else that becomes of bytes."""
    assert found[outcome]


def test_the_seed_decides(readers: Readers) -> None:
    """The same seed brings the same inputs, another one others."""
    first, again, other = (outcomes(readers, seed, 500) for seed in ("a", "a", "b"))
    assert first == again != other


def test_surprises_are_noticed(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that fails in another way, or guesses, is found out."""

    def wrong(data: bytes) -> None:
        raise IndexError("out of range")

    for reader in (wrong, lambda data: None):
        monkeypatch.setattr("fuzz.outcomes.parse", reader)
        with pytest.raises(Surprise, match=GOLDEN[0].hex()):
            readers.read(GOLDEN[0])
