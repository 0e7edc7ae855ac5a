"""The pipeline for callers that are not asynchronous: scripts, other clients, a REPL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from faust_s3.pipeline import Pipeline
from faust_s3.retry import Patience

__all__ = ["BlockingPipeline"]

T = TypeVar("T")


class BlockingPipeline:
    """Runs a pipeline on an event loop in a thread of its own, started when first used.

    A thread, and not ``asyncio.run``: callers may have a loop running already (Jupyter).
    While they wait, that loop stands still; topics made by an app with ``S3(app)`` never
    come here.

    Args:
        pipeline: The pipeline to run.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._patience = Patience(timeout=pipeline.config.send_timeout)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def offload(self, payload: bytes, *, topic: str | None = None) -> bytes:
        """Return what goes on the topic for a payload.

        Raises:
            StoreUnavailable: After ``send_timeout`` seconds.
            PermanentError: If the store refuses, or the payload is too large.
        """
        if not self._pipeline.is_large(payload):
            return self._pipeline.wrap(payload)
        return self._run(self._pipeline.offload(payload, topic=topic, patience=self._patience))

    def rehydrate(self, data: bytes) -> bytes:
        """Return the payload behind bytes from a topic.

        Raises:
            StoreUnavailable: After ``send_timeout`` seconds.
            PermanentError: If the claim cannot be redeemed.
        """
        payload = self._pipeline.read(data)
        if isinstance(payload, bytes):
            return payload
        return self._run(self._pipeline.redeem(payload, patience=self._patience))

    def close(self) -> None:
        """Stop the thread. Idempotent; a later call starts another one."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _run(self, coro: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coro, self._running_loop()).result()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="faust-s3-blocking", daemon=True
                )
                self._thread.start()
            return self._loop


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
