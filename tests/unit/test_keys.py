"""Object keys: grammar, encoding, and the examples in the documentation."""

from __future__ import annotations

import doctest
import json
import re
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from faust_s3.exceptions import ConfigError
from faust_s3.keys import DEFAULT_TEMPLATE, MAX_KEY_SIZE, KeyTemplate, encode_segment

DOCUMENT = Path(__file__).parents[2] / "docs" / "object-keys.md"
UPLOAD: dict[str, Any] = {
    "topic": "uploads",
    "digest": sha256(b"hello").hexdigest(),
    "now": datetime(2026, 1, 31, 23, 59, 59, tzinfo=timezone.utc),
    "uuid": "0b8e5f5e-6e0f-4b8a-9d52-2c1a7f3c9e11",
}
FIELDS = ["{topic}", "{partition}", "{key}", "{date}", "{digest}", "{uuid}"]

literals = st.text(
    st.characters(categories=["L", "N", "P", "S"], exclude_characters="/{}"), max_size=12
)
texts = literals.filter(lambda text: text not in ("", ".", ".."))
prefixes = st.lists(texts, max_size=4).map("/".join)
parts = st.lists(st.sampled_from(FIELDS) | literals, min_size=1, max_size=4).map("".join)
templates = (
    st.lists(parts.filter(lambda part: part not in ("", ".", "..")), min_size=1, max_size=6)
    .map("/".join)
    .filter(lambda template: "{digest}" in template or "{uuid}" in template)
)
uploads = st.fixed_dictionaries(
    {
        "topic": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=70),
        "digest": st.binary(min_size=32, max_size=32).map(bytes.hex),
        "now": st.datetimes(
            min_value=datetime(2000, 1, 1),
            timezones=st.just(timezone.utc),
        ),
        "uuid": st.uuids().map(str),
        "partition": st.none() | st.integers(0, 2**31 - 1),
        "key": st.none() | st.binary(max_size=400),
    }
)


def test_examples_in_the_documentation() -> None:
    """Every example in docs/object-keys.md is what the code does."""
    done = doctest.testfile(str(DOCUMENT), module_relative=False)
    assert done.attempted > 10
    assert not done.failed


def test_lifecycle_rule_in_the_documentation() -> None:
    """The rule expires the payloads of one topic's values, and spares its record keys."""
    (block,) = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    prefix = json.loads(block)["Rules"][0]["Filter"]["Prefix"]
    keys = KeyTemplate("photos")
    assert keys.render(**UPLOAD).startswith(prefix)
    assert not keys.render(**{**UPLOAD, "topic": "uploads-2"}).startswith(prefix)
    assert not keys.render_message_key(topic="uploads", digest=UPLOAD["digest"]).startswith(prefix)


@given(prefixes, templates, uploads)
def test_keys_are_within_s3s_bounds(prefix: str, template: str, upload: dict[str, Any]) -> None:
    """A key has at most 1024 bytes, or is an error that says so."""
    try:
        key = KeyTemplate(prefix, template).render(**upload)
    except ConfigError as exc:
        assert "at most 1024" in str(exc)  # noqa: PT017 - one of two outcomes
    else:
        assert 0 < len(key.encode()) <= MAX_KEY_SIZE


@given(prefixes, templates, uploads)
def test_keys_have_plain_segments(prefix: str, template: str, upload: dict[str, Any]) -> None:
    """No segment of a key is empty, ``.`` or ``..``, which servers and clients rewrite."""
    try:
        key = KeyTemplate(prefix, template).render(**upload)
    except ConfigError:
        assume(False)
    assert not {"", ".", ".."} & set(key.split("/"))


@given(prefixes, templates, uploads)
def test_prefix_stands_first(prefix: str, template: str, upload: dict[str, Any]) -> None:
    """A key lies below the prefix, or claims for it would be refused."""
    try:
        key = KeyTemplate(prefix, template).render(**upload)
    except ConfigError:
        assume(False)
    assert key.startswith(f"{prefix}/" if prefix else "")


@given(uploads)
def test_equal_uploads_have_equal_keys(upload: dict[str, Any]) -> None:
    """The same input makes the same key: nothing is drawn or looked up."""
    template = "{topic}/{partition}/{key}/{digest}"
    assert KeyTemplate("p", template).render(**upload) == KeyTemplate("p", template).render(
        **upload
    )


@given(uploads, st.uuids().map(str))
def test_default_keys_are_the_same_for_a_day(upload: dict[str, Any], uuid: str) -> None:
    """By default a retry of the same payload on the same day writes the same object."""
    again = {**upload, "uuid": uuid, "now": upload["now"].replace(hour=0)}
    assert KeyTemplate("p").render(**upload) == KeyTemplate("p").render(**again)


@given(st.binary(min_size=1))
@example(b".")
@example(b"..")
@example(b"%2F")
@example(b"/")
@example(b"\0")
def test_segments_decode_back(value: bytes) -> None:
    """Whoever reads a listing gets the bytes back, by ordinary percent-decoding."""
    assert unquote_to_bytes(encode_segment(value)) == value


@given(st.binary())
@example(b"")
@example(b"..")
def test_segments_are_safe(value: bytes) -> None:
    """A segment has unreserved characters and escapes only, and is not empty or a direction."""
    segment = encode_segment(value)
    assert re.fullmatch(r"([A-Za-z0-9._~-]|%[0-9A-F]{2})+", segment)
    assert segment not in (".", "..")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100))
def test_topics_decode_back(topic: str) -> None:
    """The topic can be read from a key."""
    key = KeyTemplate("p").render(**{**UPLOAD, "topic": topic})
    assert unquote_to_bytes(key.split("/")[1]).decode() == topic


@given(st.binary(max_size=1000))
@example(b"x" * 127)
@example(b"x" * 128)
@example(b"x" * 129)
@example(b"/" * 42)
@example(b"/" * 43)
@example(b"x" + b"/" * 43)
@example(b"xx" + b"/" * 43)
def test_record_keys_are_shortened(key: bytes) -> None:
    """A long record key is cut to 128 characters, never within an escape."""
    segment = KeyTemplate("", "{key}/{uuid}").render(**UPLOAD, key=key).split("/")[0]
    assert len(segment) <= 128
    assert re.fullmatch(r"([A-Za-z0-9._~-]|%[0-9A-F]{2})+", segment)
    if key:
        assert key.startswith(unquote_to_bytes(segment))
    if len(encode_segment(key)) <= 128:
        assert segment == encode_segment(key)


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{topic}/{digest}", f"uploads/{UPLOAD['digest']}"),
        ("{digest}", UPLOAD["digest"]),
        ("{date}/{uuid}", f"2026/01/31/{UPLOAD['uuid']}"),
        ("a{{b}}/{uuid}.bin", f"a{{b}}/{UPLOAD['uuid']}.bin"),
        ("{partition}_{key}_{uuid}", f"-_-_{UPLOAD['uuid']}"),
    ],
)
def test_templates(template: str, rendered: str) -> None:
    """Fields are replaced, everything else stands."""
    assert KeyTemplate("", template).render(**UPLOAD) == rendered


def test_prefix_is_no_template() -> None:
    """Braces in the prefix are braces."""
    assert KeyTemplate("{x}", "{uuid}").render(**UPLOAD) == f"{{x}}/{UPLOAD['uuid']}"


@pytest.mark.parametrize(
    "template",
    [
        "{topic}/{date}",
        "",
        "{digest}/",
        "/{digest}",
        "a//{digest}",
        "./{digest}",
        "../{digest}",
        "a/../{digest}",
        "{digest}/{nothing}",
        "{digest}/{}",
        "{digest}/{0}",
        "{digest}/{topic.upper}",
        "{digest}/{topic[0]}",
        "{digest!r}",
        "{digest:>100}",
        "{digest:{topic}}",
        "{digest",
        "digest}",
        "{digest}\n",
        "{digest}\0",
    ],
)
def test_bad_templates(template: str) -> None:
    """A template that breaks the grammar is refused in a sentence that shows it."""
    with pytest.raises(ConfigError) as caught:
        KeyTemplate("p", template)
    assert "key_template" in str(caught.value)


@pytest.mark.parametrize("prefix", ["/a", "a/", "a//b", ".", "..", "a/./b", "a/..", "/", "a\n"])
def test_bad_prefixes(prefix: str) -> None:
    """A prefix that breaks the grammar is refused in a sentence that shows it."""
    with pytest.raises(ConfigError, match=re.escape(repr(prefix))):
        KeyTemplate(prefix)


def test_default_template() -> None:
    """The default is what the documentation promises."""
    assert KeyTemplate().template == DEFAULT_TEMPLATE == "{topic}/{date}/{digest}"


@pytest.mark.parametrize(("length", "fits"), [(1023, True), (1024, True), (1025, False)])
def test_edges_of_the_bound(length: int, fits: bool) -> None:
    """1024 bytes are the most."""
    keys = KeyTemplate("p" * (length - 1 - 64), "{digest}")
    if fits:
        assert len(keys.render(**UPLOAD)) == length
    else:
        with pytest.raises(ConfigError, match="has 1025 bytes; S3 takes at most 1024"):
            keys.render(**UPLOAD)


def test_record_key_has_a_place_of_its_own() -> None:
    """Objects of record keys lie below the topic, whatever the template is."""
    keys = KeyTemplate("photos", "{uuid}")
    assert keys.render_message_key(topic="a/b", digest="d" * 64) == f"photos/a%2Fb/keys/{'d' * 64}"
    assert keys.render_message_key(topic=None, digest="d" * 64) == f"photos/-/keys/{'d' * 64}"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_record_keys_and_values_do_not_meet(topic: str) -> None:
    """No value's object has the place of a record key's, by default."""
    upload = {**UPLOAD, "topic": topic}
    of_key = KeyTemplate().render_message_key(topic=topic, digest=UPLOAD["digest"])
    assert KeyTemplate().render(**upload) != of_key
