"""A worker that waits for its store stays in its group."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.subscription_state import SubscriptionState
from mode import Service
from worlds import connect, make_app

from faust_s3 import membership
from faust_s3.membership import stay_while, touch


class Thread:
    """Faust's thread around a consumer of aiokafka's that was not connected."""

    def __init__(self) -> None:
        self.thread_loop = asyncio.get_running_loop()
        self._consumer: Any = object.__new__(AIOKafkaConsumer)
        self._consumer._closed = True  # it has nothing to stop
        self._consumer._subscription = SubscriptionState()
        self._consumer._subscription._last_fetch_ended -= 1000

    @property
    def idle(self) -> float:
        return cast(float, self._consumer._subscription.fetcher_idle_time)


@pytest.fixture
def app() -> Any:
    app = make_app()
    connect(app)
    return app


async def test_a_touch_counts_as_asking_for_records(app: Any) -> None:
    """The consumer is taken for one that is alive."""
    thread = app.consumer._thread = Thread()
    assert thread.idle >= 1000
    touch(app)
    await asyncio.sleep(0)
    assert thread.idle < 100


async def test_a_fetch_that_runs_is_left_alone(app: Any) -> None:
    """What is being asked for keeps the consumer alive by itself."""
    thread = app.consumer._thread = Thread()
    with thread._consumer._subscription.fetch_context():
        touch(app)
        await asyncio.sleep(0)
        assert thread.idle == 0


async def test_there_may_be_nothing_to_touch(app: Any) -> None:
    """A consumer in memory, one of another driver, one that has stopped: no error."""
    touch(app)
    thread = app.consumer._thread = Thread()
    thread.thread_loop = asyncio.new_event_loop()
    thread.thread_loop.close()
    touch(app)
    thread._consumer = object()
    touch(app)
    touch(make_app())


async def test_only_while_the_store_is_waited_for(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that hangs for another reason leaves the group as ever."""
    touches: list[bool] = []
    answers = iter([False, True, True, False])
    busy: list[bool] = []

    class Looking(Service):
        async def sleep(self, n: Any) -> None:
            if len(busy) == 4:
                self._stopped.set()

    def is_busy() -> bool:
        busy.append(next(answers))
        return busy[-1]

    monkeypatch.setattr(membership, "touch", lambda app: touches.append(True))
    await stay_while(is_busy, app, Looking())
    assert busy == [False, True, True, False]
    assert len(touches) == 2
