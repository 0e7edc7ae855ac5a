"""What is committed, and when: not before everything that was sent for it has arrived.

Faust commits what is acknowledged. An agent acknowledges an event as soon as it takes the
next one, while what it sent may still be on its way to the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, cast

from faust.exceptions import ProducerSendError
from faust.types import TP, AppT, ConsumerT, Message

from faust_s3.internals import first_in_process, forget_acks, new_offset_below

__all__ = ["Commits"]

logger = logging.getLogger(__name__)

#: Seconds that partitions wait for what was sent for their events, when they are revoked.
#: The group waits as long, and puts out a member that takes ``broker_rebalance_timeout``.
REVOKED: Final = 5.0
#: The same when the worker stops, in all; orchestrators kill after 30 s.
STOPPED: Final = 10.0

Publish = Callable[[], Awaitable[asyncio.Future[None]]]


class Commits:
    """Keeps the consumer of an app from committing what has not arrived.

    An event for which something is on its way counts as not acknowledged. So commits never
    wait for the store, and what is before that event, or in other partitions, is committed
    meanwhile.

    Args:
        app: The app.
    """

    def __init__(self, app: AppT) -> None:
        self._app = app
        self._held: dict[TP, dict[asyncio.Future[None], int]] = defaultdict(dict)
        self._attached: dict[TP, list[tuple[int, Publish]]] = defaultdict(list)
        self._revoked: set[TP] = set()
        self._closed = False
        self._ends_at: float | None = None

    def hold(self, events: Iterable[tuple[TP, int]], arrived: asyncio.Future[None]) -> None:
        """Hold events, as partitions and offsets, until something has arrived.

        If it fails, they are held until their partitions are revoked.
        """
        for tp, offset in events:
            self._held[tp][arrived] = min(offset, self._held[tp].get(arrived, offset))

            def release(done: asyncio.Future[None], tp: TP = tp) -> None:
                if _has_arrived(done):
                    self._held[tp].pop(done, None)

            arrived.add_done_callback(release)

    def attach(self, event: tuple[TP, int], publish: Publish) -> None:
        """Have something published in the commit of an event, after it was acknowledged.

        Args:
            event: Partition and offset.
            publish: Returns what is done when it has arrived.
        """
        tp, offset = event
        self._attached[tp].append((offset, publish))

    def refuse(self, tp: TP, offset: int, exc: BaseException) -> None:
        """Hold an event, because of an error, until its partition is revoked."""
        refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        refused.set_exception(exc)
        refused.exception()
        self.hold([(tp, offset)], refused)

    def is_current(self, message: Message) -> bool:
        """Tell whether a message is of a partition that was not revoked since it was fetched.

        An agent may still process one that was, and that is delivered again, here or elsewhere.
        """
        same = message.generation_id == self._app.consumer_generation_id
        return same and message.tp not in self._revoked

    def comes_again(self, events: Iterable[tuple[TP, int]], arrived: asyncio.Future[None]) -> bool:
        """Tell whether events are delivered again because of something that was sent earlier.

        So it is with all from the first one on for which something failed.

        Args:
            events: Partitions and offsets.
            arrived: What they are held for; what was held later does not count.
        """
        for tp, at in events:
            for earlier, offset in self._held[tp].items():
                if earlier is arrived:
                    break
                if offset <= at and earlier.done() and not _has_arrived(earlier):
                    return True
        return False

    def close(self) -> None:
        """Commit nothing any more."""
        self._closed = True

    def under_way(self) -> set[asyncio.Future[None]]:
        """Return what events are held for and has neither arrived nor failed."""
        return {arrived for held in self._held.values() for arrived in held if not arrived.done()}

    def forget(self, partitions: Iterable[TP]) -> None:
        """Drop all that concerns partitions that were revoked.

        Their events are delivered again unless they were committed, so that what was
        acknowledged and not committed does not count any more either.
        """
        revoked = set(partitions)
        self._revoked |= revoked
        for tp in revoked:
            self._held.pop(tp, None)
            self._attached.pop(tp, None)
        forget_acks(cast(Any, self._app)._consumer, revoked)

    def regain(self, partitions: Iterable[TP]) -> None:
        """Take partitions that were assigned for this worker's again."""
        self._revoked -= set(partitions)

    def guard(self, consumer: ConsumerT) -> None:
        """Have a consumer ask here before it commits. Doing it twice changes nothing.

        Mirrors ``faust/transport/consumer.py::Consumer`` of 0.15.3, ``_new_offset``,
        ``_handle_attached`` and ``commit_and_end_transactions``.
        """
        guarded: Any = consumer
        if "_new_offset" in vars(consumer):
            return
        new_offset = guarded._new_offset
        handle_attached = guarded._handle_attached
        commit_and_end = guarded.commit_and_end_transactions

        def below_what_is_held(tp: TP) -> int | None:
            if self._closed:
                return None
            return new_offset_below(consumer, tp, self._limit(consumer, tp), new_offset)

        async def publish_attached(offsets: dict[TP, int]) -> None:
            await self._publish(offsets)
            await handle_attached(offsets)

        async def wait_and_commit() -> None:
            # A rebalance, or the end. What has not arrived then is delivered again.
            await self.arrived(self.patience())
            await commit_and_end()
            if self._app.should_stop and self._app.in_transaction:
                # Faust commits once more as its consumer stops, with no transaction to do it
                # in if anything was acknowledged meanwhile, and then the worker never ends.
                self.close()

        guarded._new_offset = below_what_is_held
        guarded._handle_attached = publish_attached
        guarded.commit_and_end_transactions = wait_and_commit

    def _limit(self, consumer: ConsumerT, tp: TP) -> int | None:
        """Return the first offset that must not be passed by, if there is one."""
        # Callbacks of what has just arrived come a turn later: its state is what counts.
        held = [offset for arrived, offset in self._held[tp].items() if not _has_arrived(arrived)]
        # Else Faust may commit past a single event that is being processed.
        if (first := first_in_process(consumer).get(tp)) is not None:
            held.append(first)
        return min(held, default=None)

    def patience(self) -> float:
        """Return how many seconds a rebalance, or the end, may wait for what is under way.

        The end is waited for in several places, and all of them together wait no longer.
        """
        if not self._app.should_stop:
            self._ends_at = None
            return REVOKED
        now = asyncio.get_running_loop().time()
        if self._ends_at is None:
            self._ends_at = now + STOPPED
        return max(0.0, self._ends_at - now)

    async def arrived(self, timeout: float) -> None:
        """Wait until what events are held for has arrived or failed, or so many seconds."""
        if under_way := self.under_way():
            await asyncio.wait(under_way, timeout=timeout)

    async def _publish(self, offsets: dict[TP, int]) -> None:
        arriving = []
        try:
            for tp, offset in offsets.items():
                due = [(at, publish) for at, publish in self._attached[tp] if at < offset]
                self._attached[tp] = [entry for entry in self._attached[tp] if entry[0] >= offset]
                for _, publish in sorted(due, key=lambda entry: entry[0]):
                    arriving.append(await publish())
            await asyncio.gather(*arriving)
        except BaseException as exc:
            self.close()  # a part may be published, and the events behind it must come again
            if isinstance(exc, asyncio.CancelledError):
                raise
            raise ProducerSendError(f"Error while sending: {exc!r}") from exc


def _has_arrived(what: asyncio.Future[None]) -> bool:
    return what.done() and not what.cancelled() and what.exception() is None
