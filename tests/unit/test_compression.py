"""Compression: what becomes smaller, what comes back, and where it stops."""

from __future__ import annotations

import asyncio
import gzip
import random
import sys
import threading
import zlib
from contextlib import suppress
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import CountingStore
from worlds import make_app, make_s3

from faust_s3 import compression, streaming
from faust_s3.claim import Claim, Encoding, Inline, parse
from faust_s3.compression import Broken, check_library, compress, decoder
from faust_s3.config import Config
from faust_s3.exceptions import ClaimError, ConfigError, IntegrityError, PayloadTooLarge, S3Error
from faust_s3.pipeline import Pipeline
from faust_s3.stores import Location, MemoryStore, Store

NAMES = ["gzip", "zstd"]
ENCODINGS = [Encoding.GZIP, Encoding.ZSTD]
TEXT = b"".join(b'{"number":%d}' % number for number in range(20_000))
NOISE = random.Random(1).randbytes(100_000)

each_encoding = pytest.mark.parametrize("encoding", ENCODINGS, ids=NAMES)
each_name = pytest.mark.parametrize("name", NAMES)


def make(name: str | None, store: Store | None = None, **settings: Any) -> Pipeline:
    settings = {"threshold": 1000, "cache_bytes": 0, "compression": name, **settings}
    config = Config(url="s3://my-bucket/photos", **settings)
    return Pipeline(config, MemoryStore() if store is None else store)


def claim_in(data: bytes) -> Claim:
    claim = parse(data)
    assert isinstance(claim, Claim)
    return claim


def squeezed(payload: bytes, encoding: Encoding) -> bytes:
    stored = compress(payload, encoding)
    assert stored is not None
    return stored


async def offload(pipeline: Pipeline, payload: bytes, **more: Any) -> bytes:
    return await pipeline.offload(payload, **{"topic": "uploads", **more})


async def exhaust(pipeline: Pipeline, content: Claim | Inline, got: list[bytes]) -> None:
    async for chunk in pipeline.stream(content):
        got.append(chunk)


# -- encodings


@each_encoding
@given(st.binary(max_size=300), st.integers(1, 300), st.integers(1, 100), st.integers(1, 300))
def test_round_trip(encoding: Encoding, unit: bytes, times: int, fed: int, most: int) -> None:
    """A payload comes back, in whatever pieces it is fed and taken."""
    payload = unit * times
    stored = compress(payload, encoding)
    if stored is None:
        return
    assert len(stored) < len(payload)
    decoding, pieces = decoder(encoding, len(payload)), []
    for at in range(0, len(stored), fed):
        decoding.feed(stored[at : at + fed])
        while piece := decoding.take(most):
            assert len(piece) <= most
            pieces.append(piece)
    decoding.finish()
    assert b"".join(pieces) == payload == decoder(encoding, len(payload)).all_of(stored)


@each_encoding
def test_the_same_bytes_again(encoding: Encoding) -> None:
    """There is no time in them: what is sent again lies in the same place."""
    assert compress(TEXT, encoding) == compress(TEXT, encoding)


@each_encoding
@pytest.mark.parametrize("payload", [b"", b"x", NOISE])
def test_what_gets_no_smaller(encoding: Encoding, payload: bytes) -> None:
    """It is not compressed."""
    assert compress(payload, encoding) is None


def test_gzip_is_what_everybody_reads() -> None:
    """Any gzip reads it."""
    assert gzip.decompress(squeezed(TEXT, Encoding.GZIP)) == TEXT


@each_encoding
@pytest.mark.parametrize("piecewise", [False, True])
def test_bombs(encoding: Encoding, piecewise: bool) -> None:
    """No more is decompressed than was expected, and a byte."""
    decoding, made = decoder(encoding, 1000), 0
    stored = squeezed(bytes(50_000_000), encoding)

    def take() -> None:
        nonlocal made
        decoding.feed(stored)
        while piece := decoding.take(100):
            made += len(piece)

    with pytest.raises(Broken, match="stand for more bytes"):
        take() if piecewise else decoding.all_of(stored)
    assert made <= 1000


@each_encoding
@pytest.mark.parametrize("size", [len(TEXT) - 1, len(TEXT) + 1, 0])
def test_another_size(encoding: Encoding, size: int) -> None:
    """Neither more nor less is accepted."""
    with pytest.raises(Broken):
        decoder(encoding, size).all_of(squeezed(TEXT, encoding))


@each_encoding
@pytest.mark.parametrize("together", [True, False])
def test_more_after_the_end(encoding: Encoding, together: bool) -> None:
    """Whatever follows is an error, another member or frame too."""
    stored = squeezed(TEXT, encoding)
    for more in (b"x", stored):
        decoding = decoder(encoding, len(TEXT))
        for fed in [stored + more] if together else [stored, more]:
            decoding.feed(fed)
            while decoding.take(10**6):
                pass
        with pytest.raises(Broken, match="something follows"):
            decoding.finish()


@each_encoding
def test_damage(encoding: Encoding) -> None:
    """What was cut short or changed is an error, and nothing else is raised."""
    stored = squeezed(TEXT, encoding)
    for damaged in (b"", stored[:-1], stored[: len(stored) // 2], b"x" + stored, b"x" * 100):
        with pytest.raises(Broken):
            decoder(encoding, len(TEXT)).all_of(damaged)
    changed = random.Random(2)
    for _ in range(50):
        broken = bytearray(stored)
        broken[changed.randrange(len(stored))] ^= 1 << changed.randrange(8)
        try:
            payload = decoder(encoding, len(TEXT)).all_of(bytes(broken))
        except Broken:
            continue
        assert payload == TEXT, "in a header's field that says nothing of the payload"


def test_large_windows() -> None:
    """A frame that wants more than 8 MiB of memory is refused."""
    zstd: Any = compression._zstd()
    options = {zstd.CompressionParameter.window_log: 24}
    packer = zstd.ZstdCompressor(options=options)
    stored = packer.compress(bytes(20_000_000)) + packer.flush()
    with pytest.raises(Broken, match="damaged"):
        decoder(Encoding.ZSTD, 20_000_000).all_of(stored)


def test_identity() -> None:
    """What is stored as it is is counted likewise."""
    assert decoder(Encoding.IDENTITY, 10).all_of(b"0123456789") == b"0123456789"
    for size in (9, 11):
        with pytest.raises(Broken):
            decoder(Encoding.IDENTITY, size).all_of(b"0123456789")


# -- a library that is not there


@pytest.fixture
def no_zstd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python without the library."""
    for name in ("backports.zstd", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    for package in ("backports", "compression"):
        if package in sys.modules:
            monkeypatch.delattr(sys.modules[package], "zstd", raising=False)


def test_a_writer_without_the_library(no_zstd: None) -> None:
    """It is told at once what to install."""
    with pytest.raises(ConfigError, match=r"pip install 'faust-s3\[zstd\]'"):
        make_s3(make_app(), compression="zstd")
    make_s3(make_app(), name="archive", compression="gzip")


def test_checking(no_zstd: None) -> None:
    """Gzip is always there."""
    check_library(Encoding.GZIP)
    with pytest.raises(ConfigError):
        check_library(Encoding.ZSTD)


@pytest.mark.parametrize("inline", [True, False])
async def test_a_reader_without_the_library(inline: bool, request: Any) -> None:
    """It is no bad claim, which could be skipped: somebody has to install something."""
    pipeline = make("zstd", threshold=100_000 if inline else 0)
    data = await offload(pipeline, TEXT)
    assert isinstance(parse(data), Inline if inline else Claim)
    request.getfixturevalue("no_zstd")
    content = pipeline.read(data)
    assert not isinstance(content, bytes)
    with pytest.raises(ConfigError, match=r"to read: pip install 'faust-s3\[zstd\]'"):
        await pipeline.redeem(content)
    with pytest.raises(ConfigError, match="to read"):
        await exhaust(pipeline, content, [])


# -- the pipeline


@each_name
async def test_stored_compressed(name: str) -> None:
    """What is still large lies in the store compressed, and the claim says so."""
    store = MemoryStore()
    pipeline = make(name, store)
    data = await offload(pipeline, TEXT)
    claim = claim_in(data)
    assert claim.encoding.name.lower() == name
    assert claim.payload_size == len(TEXT) > 2 * claim.stored_size
    assert claim.sha256 == sha256(TEXT).digest()
    stored = await store.get(Location(claim.bucket, claim.key), max_size=claim.stored_size)
    mark = sha256(stored).hexdigest()[:8]
    assert claim.key.endswith(f"/{claim.sha256.hex()}-{mark}.{'gz' if name == 'gzip' else 'zst'}")
    assert stored == compress(TEXT, claim.encoding)
    assert len(data) <= 128
    assert await pipeline.rehydrate(data) == TEXT
    assert await make(None, store).rehydrate(data) == TEXT


@each_name
async def test_small_once_compressed(name: str) -> None:
    """What is small then stays on the topic, and the store is not asked."""
    store = CountingStore()
    pipeline = make(name, store)
    payload = b"faust" * 10_000
    data = await offload(pipeline, payload)
    assert isinstance(parse(data), Inline)
    assert len(data) < 1000
    assert await pipeline.rehydrate(data) == await make(None).rehydrate(data) == payload
    assert not store.requests


@each_name
@pytest.mark.parametrize("which", ["threshold", "room"])
async def test_edges(name: str, which: str) -> None:
    """The envelope counts, against the threshold as against what the producer takes."""
    envelope = await offload(make(name, threshold=100_000), TEXT)
    assert isinstance(parse(envelope), Inline)
    for missing, kind in ((0, Inline), (1, Claim)):
        limit = len(envelope) - missing
        more = {"room": limit} if which == "room" else {}
        pipeline = make(name, threshold=limit if which == "threshold" else 100_000)
        assert isinstance(parse(await offload(pipeline, TEXT, **more)), kind)


@each_name
async def test_noise_is_stored_as_it_is(name: str) -> None:
    """A photo costs time, and is as it was."""
    pipeline = make(name)
    claim = claim_in(data := await offload(pipeline, NOISE))
    assert claim == claim_in(await offload(make(None), NOISE))
    assert await pipeline.rehydrate(data) == NOISE


@each_name
async def test_keys_are_not_compressed(name: str) -> None:
    """Their claim is the same whatever the setting."""
    assert await offload(make(name), TEXT, is_key=True) == await offload(
        make(None), TEXT, is_key=True
    )


async def test_no_setting_replaces_what_another_stored() -> None:
    """Each encoding has an object of its own, and all of them stay readable."""
    store = MemoryStore()
    written = [await offload(make(name, store), TEXT) for name in (None, *NAMES)]
    assert len({claim_in(data).key for data in written}) == 3
    for data in written:
        assert await make(None, store).rehydrate(data) == TEXT


@each_name
@pytest.mark.parametrize("fault", ["bomb", "short", "other", "tail", "junk"])
async def test_objects_that_are_wrong(name: str, fault: str, monkeypatch: Any) -> None:
    """Load or stream, an object that is not the one that was stored is IntegrityError."""
    monkeypatch.setattr(streaming, "PIECE", 1000)
    store = MemoryStore()
    pipeline = make(name, store, threshold=0)
    claim = claim_in(await offload(pipeline, TEXT))
    payload = {"bomb": bytes(10**7), "short": TEXT[:-1], "other": TEXT[:-1] + b"!"}.get(fault, TEXT)
    stored = squeezed(payload, claim.encoding)
    stored = {"tail": stored + b"x", "junk": b"junk" * 1000}.get(fault, stored)
    await store.put(Location(claim.bucket, claim.key), stored)
    claim = Claim(
        claim.bucket, claim.key, claim.payload_size, len(stored), claim.sha256, claim.encoding
    )
    content = pipeline.read(claim.dumps())
    assert content == claim
    with pytest.raises(IntegrityError) as raised:
        await pipeline.redeem(claim)
    assert (raised.value.bucket, raised.value.key) == (claim.bucket, claim.key)
    got: list[bytes] = []
    with pytest.raises(IntegrityError):
        await exhaust(pipeline, claim, got)
    assert len(b"".join(got)) < len(TEXT)


@each_encoding
async def test_envelopes_that_are_wrong(encoding: Encoding) -> None:
    """A payload on the topic that is not what its envelope says is ClaimError."""
    pipeline = make(None)
    for size, stored in (
        (1000, squeezed(bytes(10**7), encoding)[:999]),
        (1000, squeezed(bytes(999), encoding)),
        (1000, squeezed(bytes(1001), encoding)),
        (1000, b"junk"),
    ):
        content = pipeline.read(Inline(size, stored, encoding).dumps())
        assert isinstance(content, Inline)
        for reading in (pipeline.redeem(content), exhaust(pipeline, content, [])):
            with pytest.raises(ClaimError, match="the inline envelope is malformed"):
                await reading
        with pytest.raises(ClaimError):
            streaming.digest_of(content)


@each_encoding
def test_too_large_a_payload(encoding: Encoding) -> None:
    """What says that it is larger than the cap is not decompressed."""
    stored = squeezed(bytes(2001), encoding)
    pipeline = make(None, max_payload=2000)
    for size, raises in ((2000, False), (2001, True)):
        data = Inline(size, stored, encoding).dumps()
        if raises:
            with pytest.raises(PayloadTooLarge, match="max_payload=2000"):
                pipeline.read(data)
        else:
            pipeline.read(data)


@each_encoding
@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("payload", [TEXT, b"faust" * 100_000], ids=["text", "words"])
async def test_stream(encoding: Encoding, inline: bool, payload: bytes, monkeypatch: Any) -> None:
    """Pieces are bounded however much the next stored bytes stand for."""
    monkeypatch.setattr(streaming, "PIECE", 1000)
    stored = squeezed(payload, encoding)
    store = CountingStore()
    digest = sha256(payload).digest()
    await store.put(Location("my-bucket", "photos/x"), stored)
    content: Claim | Inline = Claim(
        "my-bucket", "photos/x", len(payload), len(stored), digest, encoding
    )
    if inline:
        content = Inline(len(payload), stored, encoding)
        assert streaming.digest_of(content) == digest
    pieces = [piece async for piece in make(None, store).stream(content)]
    assert b"".join(pieces) == payload
    assert max(map(len, pieces)) <= 1000
    assert store.count("get_range") == (0 if inline else -(-len(stored) // 1000))


@each_name
@pytest.mark.parametrize("threshold", [1000, 100_000])
async def test_in_threads(name: str, threshold: int, monkeypatch: Any) -> None:
    """Neither way holds the event loop up."""
    threads: list[threading.Thread] = []
    pipeline = make(name, threshold=threshold)

    def compressing(*args: Any) -> Any:
        threads.append(threading.current_thread())
        return compress(*args)

    def decoding(*args: Any) -> Any:
        threads.append(threading.current_thread())
        return decoder(*args)

    monkeypatch.setattr("faust_s3.coding.compress", compressing)
    monkeypatch.setattr("faust_s3.coding.decoder", decoding)
    assert await pipeline.rehydrate(await offload(pipeline, TEXT)) == TEXT
    assert len(threads) == 2
    assert threading.main_thread() not in threads


async def test_cancelled_while_it_decompresses() -> None:
    """Whoever is cancelled meanwhile is cancelled."""
    content = Inline(10**8, squeezed(bytes(10**8), Encoding.ZSTD), Encoding.ZSTD)
    reading = asyncio.ensure_future(make(None).redeem(content))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


@given(st.sampled_from(ENCODINGS), st.binary(max_size=200), st.integers(0, 10**6))
def test_fuzzed(encoding: Encoding, stored: bytes, size: int) -> None:
    """Whatever the bytes are, they are a payload of this size or an error of ours."""
    with suppress(Broken):
        assert len(decoder(encoding, size).all_of(stored)) == size


def test_errors_tell_what_is_damaged() -> None:
    """The library's own words are in the sentence."""
    with pytest.raises(Broken, match="are damaged: Error -3") as raised:
        decoder(Encoding.GZIP, 10).all_of(b"junk")
    assert isinstance(raised.value.__cause__, zlib.error)
    assert not isinstance(raised.value, S3Error)
