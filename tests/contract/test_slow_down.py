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
    """Refuses the first requests, and keeps the others for a while.

    Attributes:
        most: The most that it kept at a time.
    """

    def __init__(self) -> None:
        self.refused = self.inside = self.most = 0
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
        connection.server.stopping.wait(0.3)
        with self._lock:
            self.inside -= 1
        connection.start(200, 0, ETag='"etag"')


@pytest.mark.may_block  # to make the session
@pytest.mark.parametrize("engine", ["boto3", "obstore"])
@pytest.mark.parametrize(("fewest", "most"), [(None, AT_ONCE), (2, 11)])
async def test_slow_down(
    engine: str,
    fewest: int | None,
    most: int,
    faults: Callable[[Behaviour], FaultServer],
    make_store: Callable[..., Store],
    make_obstore: Callable[..., Store],
) -> None:
    """With ``min_concurrency`` fewer requests come after that, and all are done in the end."""
    busy = Busy()
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
    assert 1 < busy.most <= most
    if fewest is None:
        assert busy.most > 11
