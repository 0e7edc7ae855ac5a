"""The envelope on the wire: round trips, bounds, and bytes that nobody wrote."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faust_s3.claim import (
    MAGIC,
    MAX_ENVELOPE_SIZE,
    Claim,
    Envelope,
    Inline,
    is_envelope,
    parse,
)
from faust_s3.compression import Broken, decoder
from faust_s3.exceptions import ClaimError

GOLDEN = json.loads((Path(__file__).parent / "golden" / "claims.json").read_text())
ENVELOPES = [bytes.fromhex(vector["envelope"]) for vector in GOLDEN["accepted"]]
DIGEST = bytes(range(32))
HEX = DIGEST.hex()
LARGEST = 2**63 - 1

digests = st.binary(min_size=32, max_size=32)
sizes = st.integers(0, LARGEST)


def texts(limit: int) -> st.SearchStrategy[str]:
    characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    return st.text(characters, min_size=1, max_size=limit).filter(
        lambda text: len(text.encode()) <= limit
    )


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    digest = draw(digests)
    key = draw(texts(900))
    place = draw(st.none() | st.integers(0, len(key)))
    if place is not None:
        key = f"{key[:place]}{digest.hex()}{key[place:]}"
    size = draw(sizes)
    return Claim(draw(texts(255)), key, size, size, digest)


def check_reading(data: bytes) -> None:
    """Assert the contract of ``parse``, whatever the bytes."""
    with suppress(ClaimError):
        envelope = parse(data)
        if envelope is None:
            assert not data.startswith(MAGIC)
        else:
            assert data.startswith(MAGIC)
            assert envelope.dumps() == data


@given(claims())
def test_claim_round_trip(claim: Claim) -> None:
    """Any claim within the bounds is read as it was written."""
    assert parse(claim.dumps()) == claim


@given(claims())
def test_claim_is_bounded(claim: Claim) -> None:
    """No claim is longer than the bound, which readers rely on."""
    assert len(claim.dumps()) <= MAX_ENVELOPE_SIZE


@given(claims())
def test_digest_is_not_written_twice(claim: Claim) -> None:
    """A digest that stands in the key is not repeated in the envelope."""
    assert claim.dumps().count(claim.sha256.hex().encode()) == max(
        claim.key.count(claim.sha256.hex()) - 1, 0
    )


@given(st.binary(max_size=2000))
@example(b"")
@example(MAGIC)
def test_inline_round_trip(payload: bytes) -> None:
    """Any payload survives inline, one that is an envelope included."""
    envelope = Inline(len(payload), payload).dumps()
    assert parse(envelope) == Inline(len(payload), payload)
    assert parse(Inline(len(envelope), envelope).dumps()) == Inline(len(envelope), envelope)


@given(st.binary(max_size=300).filter(lambda data: not data.startswith(MAGIC)))
@example(b"")
@example(MAGIC[:3])
@example(b"x" + MAGIC)
@example(b'{"json": 1}')
def test_unmarked_bytes_are_the_payload(data: bytes) -> None:
    """Bytes without the magic are no envelope."""
    assert parse(data) is None
    assert not is_envelope(data)


def test_none_is_no_envelope() -> None:
    """A tombstone is no envelope."""
    assert not is_envelope(None)


@given(st.text())
def test_text_is_never_an_envelope(text: str) -> None:
    """No UTF-8 begins with the magic."""
    assert not is_envelope(text.encode())


def read_inline(data: bytes) -> bytes:
    inline = parse(data)
    assert isinstance(inline, Inline)
    return decoder(inline.encoding, inline.payload_size).all_of(inline.stored)


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_every_truncation(envelope: bytes) -> None:
    """A part of an envelope is an error, or without its magic a payload.

    If the payload is compressed in it, that is found by who decompresses it.
    """
    for end in range(len(envelope)):
        if end < len(MAGIC):
            assert parse(envelope[:end]) is None
        else:
            with pytest.raises((ClaimError, Broken)):
                read_inline(envelope[:end])


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_every_change_of_one_byte(envelope: bytes) -> None:
    """An envelope with a byte changed is another envelope, an error, or no envelope."""
    for position in range(len(envelope)):
        for byte in range(256):
            check_reading(envelope[:position] + bytes([byte]) + envelope[position + 1 :])


@given(st.binary(max_size=1500))
def test_anything_behind_the_magic(rest: bytes) -> None:
    """Random bytes behind the magic are read or refused, nothing else."""
    check_reading(MAGIC + rest)


@given(st.sampled_from([1, 2]), st.sampled_from([0, 1]), st.binary(max_size=200))
def test_anything_behind_a_good_header(kind: int, flags: int, rest: bytes) -> None:
    """Random bytes behind a header of this version are read or refused, nothing else."""
    check_reading(MAGIC + bytes([1, kind, flags, 0]) + rest)


@given(claims(), st.data())
def test_changed_claims(claim: Claim, data: st.DataObject) -> None:
    """A claim with some bytes replaced by any others is read or refused, nothing else."""
    envelope = claim.dumps()
    start = data.draw(st.integers(0, len(envelope)))
    end = data.draw(st.integers(start, len(envelope)))
    check_reading(envelope[:start] + data.draw(st.binary(max_size=20)) + envelope[end:])


@pytest.mark.parametrize(
    ("flags", "key"),
    [(0, f"photos/{HEX}"), (1, f"\0/{HEX}")],
    ids=["digest not cut out", "wrong digest cut out"],
)
def test_digest_is_cut_out_in_one_way(flags: int, key: str) -> None:
    """A claim that spells its digest out, or cuts out another than the last, is refused."""
    raw = key.encode()
    header = MAGIC + bytes([1, 1, flags, 0, 5, 5])
    check_reading(header + DIGEST + b"\x01b" + bytes([len(raw)]) + raw)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 2**14 - 1, 2**14, 2**56 - 1, 2**56, LARGEST])
def test_edges_of_sizes(size: int) -> None:
    """Sizes from nothing to 63 bits are read as they were written."""
    claim = Claim("b", "k", size, size, DIGEST)
    assert parse(claim.dumps()) == claim


@pytest.mark.parametrize(
    "claim",
    [
        Claim("b", "k", LARGEST + 1, LARGEST + 1, DIGEST),
        Claim("b", "k", -1, -1, DIGEST),
        Claim("b", "k", 1, 2, DIGEST),
        Claim("", "k", 1, 1, DIGEST),
        Claim("b" * 256, "k", 1, 1, DIGEST),
        Claim("b\0b", "k", 1, 1, DIGEST),
        Claim("b", "", 1, 1, DIGEST),
        Claim("b", "k" * 1025, 1, 1, DIGEST),
        Claim("b", "k" * 961 + HEX, 1, 1, DIGEST),
        Claim("b", "ü" * 513, 1, 1, DIGEST),
        Claim("b", "k\0", 1, 1, DIGEST),
        Claim("b", f"\0/{HEX}", 1, 1, DIGEST),
        Claim("b", "k", 1, 1, DIGEST[:31]),
        Claim("b", "k", 1, 1, DIGEST + b"x"),
    ],
)
def test_claims_out_of_bounds_are_not_written(claim: Claim) -> None:
    """What no reader would take is not written."""
    with pytest.raises(ClaimError):
        claim.dumps()


@pytest.mark.parametrize(
    "claim",
    [
        Claim("b" * 255, "k" * 1024, LARGEST, LARGEST, DIGEST),
        Claim("b", "k" * 960 + HEX, 1, 1, DIGEST),
        Claim("b", "ü" * 512, 1, 1, DIGEST),
    ],
)
def test_claims_at_the_bounds_are_written(claim: Claim) -> None:
    """Bounds belong to what they bound, counted in bytes."""
    assert parse(claim.dumps()) == claim


def test_largest_claim() -> None:
    """The bound on claims is that of the largest one, not more."""
    claim = Claim("b" * 255, "k" * 1024, LARGEST, LARGEST, DIGEST)
    assert len(claim.dumps()) == MAX_ENVELOPE_SIZE


@pytest.mark.parametrize("longer", [0, 1])
def test_ordinary_claims_have_at_most_128_bytes(longer: int) -> None:
    """With 62 bytes of names and a payload below 32 GiB, a claim has 128 bytes, and no more."""
    bucket, prefix, topic = "b" * 22, "p" * 20, "t" * 20
    key = f"{prefix}/{topic}/2026/01/31/{HEX}"
    size = 2**35 - 1 + longer
    assert len(Claim(bucket, key, size, size, DIGEST).dumps()) == 128 + 2 * longer


def test_inline_claims_are_not_bounded() -> None:
    """The bound on claims does not hold for payloads that travel inline."""
    payload = MAGIC * MAX_ENVELOPE_SIZE
    assert parse(Inline(len(payload), payload).dumps()) == Inline(len(payload), payload)


def test_envelopes_are_bytes() -> None:
    """An envelope on its way through is equal to its bytes, and read like them."""
    claim = Claim("b", "k", 1, 1, DIGEST)
    envelope = Envelope(claim.dumps())
    assert envelope == claim.dumps()
    assert parse(envelope) == claim


def test_claims_are_values() -> None:
    """Claims are equal by their fields, and keys of dictionaries."""
    assert len({Claim("b", "k", 1, 1, DIGEST), Claim("b", "k", 1, 1, DIGEST)}) == 1
