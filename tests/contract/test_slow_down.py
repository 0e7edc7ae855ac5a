"""A server that asks to slow down."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import boto3
import pytest
from faults import Behaviour, Connection, FaultServer, refuse

from faust_s3.config import Config
from faust_s3.pipeline import Pipeline
from faust_s3.stores import Store

#: Requests that callers make at once, and how many of them are refused first.
AT_ONCE = 16


class Busy:
    """Refuses the first requests, and keeps the others until there are many, or for a while.

    Args:
        patience: For how long, in seconds.

    Attributes:
        most: The most that it kept at a time.
    """

    def __init__(self, patience: float) -> None:
        self.refused = self.inside = self.most = 0
        self._patience = patience
        self._many = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, connection: Connection) -> None:
        with self._lock:
            refused = self.refused < AT_ONCE
            self.refused += refused
            self.inside += not refused
            self.most = max(self.most, self.inside)
        if refused:
            refuse(503, "SlowDown")(connection)
            return
        if self.most == AT_ONCE:
            self._many.set()
        self._many.wait(self._patience)
        with self._lock:
            self.inside -= 1
        connection.start(200, 0, ETag='"etag"')


@pytest.mark.may_block  # to make the session
@pytest.mark.parametrize("engine", ["boto3", "obstore"])
@pytest.mark.parametrize("fewest", [None, 2])
async def test_slow_down(
    engine: str,
    fewest: int | None,
    faults: Callable[[Behaviour], FaultServer],
    make_store: Callable[..., Store],
    make_obstore: Callable[..., Store],
) -> None:
    """With ``min_concurrency`` fewer requests come after that, and all are done in the end."""
    busy = Busy(patience=20.0 if fewest is None else 0.3)
    keys = boto3.Session("key-id", "secret")
    settings = {"session": keys, "region": "us-east-1", "endpoint_url": faults(busy).url}
    if engine == "boto3":
        store = make_store(**settings)
    else:
        store = make_obstore("s3", path_style=True, **settings)
    config = Config(
        url="s3://bucket",
        threshold=0,
        concurrency=AT_ONCE,
        min_concurrency=fewest,
        retry_base=0.01,
        retry_cap=0.01,
    )
    pipeline = Pipeline(config, store)
    payloads = (b"%d" % number for number in range(2 * AT_ONCE))
    await asyncio.gather(*(pipeline.offload(payload, topic="photos") for payload in payloads))
    assert busy.refused == AT_ONCE
    assert busy.most == AT_ONCE if fewest is None else 1 < busy.most <= 11
