"""Golden vectors: version 1 of the wire format never changes.

``golden/claims.json`` holds them, ``docs/wire-format.md`` shows them; this keeps both, and the
code, the same.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest

from faust_s3.claim import Claim, Encoding, Inline, is_envelope, parse
from faust_s3.compression import decoder
from faust_s3.exceptions import ClaimError

GOLDEN = json.loads((Path(__file__).parent / "golden" / "claims.json").read_text())
DOCUMENT = (Path(__file__).parents[2] / "docs" / "wire-format.md").read_text(encoding="utf-8")


def named(vectors: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


def value_of(vector: dict[str, Any]) -> Claim | Inline:
    if vector["kind"] == "inline":
        return Inline(
            vector["payload_size"], bytes.fromhex(vector["stored"]), Encoding(vector["encoding"])
        )
    return Claim(
        vector["bucket"],
        vector["key"],
        vector["payload_size"],
        vector["stored_size"],
        bytes.fromhex(vector["sha256"]),
        Encoding(vector["encoding"]),
    )


def hexdumps(document: str) -> dict[str, bytes]:
    """Return the bytes of each hexdump, by the heading that it stands under."""
    dumps = {}
    for section in re.split(r"^### ", document, flags=re.MULTILINE)[1:]:
        if block := re.search(r"```hexdump\n(.*?)```", section, re.DOTALL):
            lines = (line[10:59] for line in block[1].splitlines())
            dumps[section.split("\n", 1)[0].strip("`")] = bytes.fromhex(" ".join(lines))
    return dumps


@named(GOLDEN["accepted"])
def test_dumps(vector: dict[str, Any]) -> None:
    """A writer writes exactly these bytes."""
    assert value_of(vector).dumps().hex() == vector["envelope"]


@named(GOLDEN["accepted"])
def test_parse(vector: dict[str, Any]) -> None:
    """A reader reads exactly these values."""
    assert parse(bytes.fromhex(vector["envelope"])) == value_of(vector)


@named(GOLDEN["refused"])
def test_refused(vector: dict[str, Any]) -> None:
    """A reader refuses these bytes, for this reason, and never takes them for the payload."""
    envelope = bytes.fromhex(vector["envelope"])
    assert is_envelope(envelope)
    with pytest.raises(ClaimError, match=re.escape(vector["says"])):
        parse(envelope)


def test_document_shows_the_vectors() -> None:
    """The hexdumps in the documentation are the vectors, all of them."""
    assert hexdumps(DOCUMENT) == {
        vector["name"]: bytes.fromhex(vector["envelope"]) for vector in GOLDEN["accepted"]
    }


def test_document_shows_numbers_as_they_are_written() -> None:
    """The documentation's table of varints is what a writer writes."""
    rows = re.findall(r"^\| (\d+) \| `([0-9A-F ]+)` \|$", DOCUMENT, re.MULTILINE)
    assert len(rows) == 5
    for number, spelled in rows:
        envelope = Claim("b", "k", int(number), int(number), b"d" * 32).dumps()
        assert envelope[8:].startswith(bytes.fromhex(spelled) * 2 + b"d" * 32)


def payload_of(vector: dict[str, Any]) -> bytes:
    """Return what a vector stands for, if it is one of the repeated word."""
    return b"faust" * (vector["payload_size"] // 5)


@named([vector for vector in GOLDEN["accepted"] if vector["encoding"] and "stored" in vector])
def test_encodings(vector: dict[str, Any]) -> None:
    """What the vectors store compressed is the payload, whatever wrote it."""
    decoding = decoder(Encoding(vector["encoding"]), vector["payload_size"])
    assert decoding.all_of(bytes.fromhex(vector["stored"])) == payload_of(vector)


# Node.js reads zstd since 22.15, which is younger than some that are in use.
@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
@named([vector for vector in GOLDEN["accepted"] if vector["encoding"] != Encoding.ZSTD])
def test_reader_in_another_language(vector: dict[str, Any]) -> None:
    """The reader in the documentation redeems the vectors."""
    (reader,) = re.findall(r"```js\n(.*?)```", DOCUMENT, re.DOTALL)
    place = json.dumps([vector.get("bucket"), vector.get("key")], separators=(",", ":"))
    payload = payload_of(vector)
    if vector["kind"] == "inline" and not vector["encoding"]:
        payload = bytes.fromhex(vector["stored"])
    stored = gzip.compress(payload) if vector["encoding"] == Encoding.GZIP else payload
    script = f"""{reader}
    const [envelope, stored] = require("fs").readFileSync(0, "latin1").split("\\n");
    const get = async (...place) => {{
      if (JSON.stringify(place) !== {json.dumps(place)}) throw Error(place);
      return Buffer.from(stored, "base64");
    }};
    redeem(Buffer.from(envelope, "hex"), get).then((all) => console.log(all.toString("base64")));
    """
    done = subprocess.run(
        ["node", "-e", script],
        input=f"{vector['envelope']}\n{b64encode(stored).decode()}",
        capture_output=True,
        text=True,
        check=True,
    )
    assert b64decode(done.stdout) == payload
