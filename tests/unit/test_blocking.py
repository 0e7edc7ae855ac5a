"""The pipeline for callers that are not asynchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress

import pytest
from stores import BarrierStore, FailingStore, WrapperStore

from faust_s3.blocking import BlockingPipeline
from faust_s3.claim import MAGIC, is_envelope
from faust_s3.config import Config
from faust_s3.exceptions import ObjectMissing, StoreUnavailable
from faust_s3.pipeline import Pipeline
from faust_s3.stores import Location, MemoryStore, Store

PAYLOAD = b"payload" * 100
CONFIG = Config(url="s3://my-bucket/photos", threshold=10, cache_bytes=0)


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("faust-s3")]


def make(store: Store | None = None, config: Config = CONFIG) -> BlockingPipeline:
    return BlockingPipeline(Pipeline(config, store if store is not None else MemoryStore()))


@pytest.fixture
def blocking() -> Iterator[BlockingPipeline]:
    """Make a blocking pipeline on a store in memory."""
    blocking = make()
    yield blocking
    blocking.close()


@pytest.mark.parametrize("payload", [PAYLOAD, bytes(200_000)], ids=len)
def test_round_trip(blocking: BlockingPipeline, payload: bytes) -> None:
    """A script offloads and rehydrates without an event loop."""
    data = blocking.offload(payload, topic="uploads")
    assert is_envelope(data)
    assert blocking.rehydrate(data) == payload


@pytest.mark.may_block
async def test_round_trip_in_a_running_loop(blocking: BlockingPipeline) -> None:
    """A notebook, whose event loop is running, does too."""
    assert blocking.rehydrate(blocking.offload(PAYLOAD)) == PAYLOAD


def test_threads_share_it() -> None:
    """Several threads use one at a time, and wait for each other's requests no longer than S3."""
    blocking = make(BarrierStore(4))
    payloads = [b"%d" % number * 20 for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        envelopes = list(threads.map(blocking.offload, payloads))
        assert list(threads.map(blocking.rehydrate, envelopes)) == payloads
    blocking.close()


@pytest.mark.parametrize("payload", [b"", b"0123456789", MAGIC])
def test_small_payloads_need_no_thread(blocking: BlockingPipeline, payload: bytes) -> None:
    """What stays inline starts nothing, and survives."""
    assert blocking.rehydrate(blocking.offload(payload)) == payload
    assert ours() == []


def test_one_thread() -> None:
    """However much it is used, there is one thread, and it does not keep the process alive."""
    blocking = make()
    for _ in range(3):
        blocking.offload(PAYLOAD)
    (thread,) = ours()
    assert thread.daemon
    blocking.close()


def test_close_leaves_no_thread() -> None:
    """After closing there is no thread."""
    blocking = make()
    blocking.offload(PAYLOAD)
    blocking.close()
    assert ours() == []


def test_close_is_idempotent() -> None:
    """Closing twice, or without any use, does nothing."""
    blocking = make()
    blocking.close()
    blocking.offload(PAYLOAD)
    blocking.close()
    blocking.close()


def test_use_after_close(blocking: BlockingPipeline) -> None:
    """A use after closing opens anew."""
    data = blocking.offload(PAYLOAD)
    blocking.close()
    assert blocking.rehydrate(data) == PAYLOAD


def test_errors_reach_the_caller(blocking: BlockingPipeline) -> None:
    """The caller gets the pipeline's own errors."""
    data = blocking.offload(PAYLOAD)
    other = make()
    with pytest.raises(ObjectMissing):
        other.rehydrate(data)
    other.close()


def test_patience_is_send_timeout() -> None:
    """A caller waits for a store that is away no longer than ``send_timeout``."""
    config = Config(
        url="s3://my-bucket", threshold=10, send_timeout=1e-9, retry_base=1.0, retry_cap=1.0
    )
    blocking = make(FailingStore(1000), config)
    with pytest.raises(StoreUnavailable) as caught:
        blocking.offload(PAYLOAD)
    assert caught.value.attempts
    blocking.close()


class StuckStore(WrapperStore):
    """Answers nobody, and says when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()

    async def enter(self, method: str, location: Location) -> None:
        self.asked.set()
        await asyncio.Event().wait()


def test_close_ends_waiting_callers() -> None:
    """A thread that waits for the store when another one closes is not left waiting for ever."""
    store = StuckStore()
    blocking = make(store)
    ended = threading.Event()

    def wait() -> None:
        with suppress(Exception, CancelledError):
            blocking.offload(PAYLOAD)
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    store.asked.wait()
    blocking.close()
    assert ended.wait(timeout=2)
