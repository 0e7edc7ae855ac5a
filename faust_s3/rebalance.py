"""No record slips through a rebalance: works around what Faust 0.15.3 loses and repeats there.

Faust may read a partition before it knows from where, and clear away what it has read
afterwards. ``docs/reliability.md`` says how that happens; here are the three rules that
prevent it:

1. Between the revocation of partitions and the recovery of those that are assigned next,
   nothing is read, and whatever was asked for before is not taken any more.
2. Streams' partitions open after Faust has found the offsets and cleared the queues, not before.
3. A fetch reads from the partitions that it was meant for, even if all of them were paused
   since.

With exactly-once, a worker also keeps no producer for partitions that are another worker's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final, cast

import faust
from faust.types import TP, ConsumerT

__all__ = ["AFFECTED", "SteadyRebalances", "steady"]

logger = logging.getLogger(__name__)

#: Versions of Faust that need this, as far as we know. Later ones are looked at when
#: ``tests/integration/test_rebalances.py`` fails with them.
AFFECTED: Final = frozenset({"0.15.3"})


class SteadyRebalances:
    """Has a consumer keep the rules above; to be made before its first assignment.

    Mirrors ``faust/transport/consumer.py::Consumer`` and ``faust/tables/recovery.py::Recovery``
    of 0.15.3, whose methods it wraps.

    Args:
        app: The app.
        consumer: Its consumer.

    Attributes:
        fetches: Number of the fetches that may be taken; another one after each revocation.
    """

    def __init__(self, app: faust.App, consumer: ConsumerT) -> None:
        self.fetches = 0
        self._app = app
        self._consumer = cast(Any, consumer)
        self._between = True  # revoked, and the next recovery has not begun
        self._recovering = False  # it has begun, and the streams' partitions are not open
        self._due: set[TP] | None = None  # streams' partitions that are to be opened
        self._resume_partitions = self._consumer.resume_partitions
        self._resume_flow = self._consumer.resume_flow
        self._getmany = self._consumer._getmany
        self._wait_next_records = self._consumer._wait_next_records
        self._consumer.resume_partitions = self.resume_partitions
        self._consumer.resume_flow = self.resume_flow
        self._consumer._getmany = self.getmany
        self._consumer._wait_next_records = self.wait_next_records
        recovery: Any = cast(Any, app.tables).recovery
        self._recovery = recovery
        self._on_revoked = recovery.on_partitions_revoked
        self._on_rebalance = recovery.on_rebalance
        recovery.on_partitions_revoked = self.on_partitions_revoked
        recovery.on_rebalance = self.on_rebalance

    # -- between two assignments

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Take nothing any more; Faust calls this before all else."""
        self.fetches += 1
        self._between = True
        self._due = None
        # Or a stream that empties its queue would open them again (Consumer.on_buffer_drop).
        self._consumer._buffered_partitions.difference_update(revoked)
        self._on_revoked(revoked)

    async def let_go(self, revoked: set[TP]) -> None:
        """Do what Faust left out, because the client had no assignment any more.

        That is so when the app subscribes anew, for a stream that was made late: the consumer
        has another subscription by then, and ``faust/app/base.py::App._on_partitions_revoked``
        asks for the assignment of that one.
        """
        app, consumer = self._app, self._consumer
        if not consumer.flow_active:
            return
        consumer.stop_flow()
        app.flow_control.suspend()
        consumer.pause_partitions(revoked)
        app.flow_control.clear()
        if revoked:
            if app.conf.stream_wait_empty:
                await consumer.wait_empty()
            await app.producer.flush()

    async def on_rebalance(self, *args: Any, **kwargs: Any) -> None:
        """Let the recovery of the new assignment begin."""
        await self._on_rebalance(*args, **kwargs)
        if self._recovery.signal_recovery_start.is_set():
            self._between = False
            self._recovering = True

    # -- until the streams' partitions are open

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Open partitions; those of streams not before the flow resumes.

        By then Faust has awaited the seek and cleared the queues.
        """
        if self._between:
            return  # the recovery of the assignment before goes on for a while
        tps = set(tps)
        streams = {tp for tp in tps if not self._consumer._is_changelog_tp(tp)}
        if self._recovering and streams:
            self._due = streams
            tps -= streams
        self._resume_partitions(tps)

    def resume_flow(self) -> None:
        """Go on reading, unless it is an earlier recovery that says so."""
        if self._between:
            return
        if self._due is not None:
            self._resume_partitions(self._due)
            self._due = None
            self._recovering = False
        self._resume_flow()

    # -- once partitions are assigned

    async def stop_transactions(self, assigned: set[TP]) -> None:
        """Let go of the transactional producers of partitions that are not this worker's.

        ``faust/transport/consumer.py::TransactionManager.on_rebalance`` of 0.15.3 keeps those
        of revoked partitions for which this worker is a standby now. When such a partition
        comes back it goes on with the producer, which that of another worker has replaced
        meanwhile, and the worker crashes: ``ProducerFenced``.
        """
        if not self._app.in_transaction:
            return
        transactions = self._consumer.transactions
        kept = transactions._tps_to_transactional_ids(assigned)
        for name in set(transactions.producer._transaction_producers) - kept:
            await transactions.producer.stop_transaction(name)

    # -- reading

    async def getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        """Fetch records, or nothing if partitions were revoked meanwhile."""
        if active_partitions is None:
            return await self._getmany(active_partitions, timeout)
        wanted = _Wanted(active_partitions, self)
        records = await self._getmany(cast("set[TP]", wanted), timeout)
        return records if wanted.valid else {}

    async def wait_next_records(self, timeout: float) -> Any:
        """Fetch records once the flow is active.

        If it is not, Faust would seek, at a time when nobody waits for that.
        """
        while True:
            found = await self._wait_next_records(timeout)
            if found[0] or self._consumer.flow_active or self._consumer.should_stop:
                return found


class _Wanted:
    """The partitions of one fetch, asked for by aiokafka's thread while it lasts.

    Faust's own set may become empty meanwhile, which aiokafka takes for "all partitions"
    (0.14.0, ``consumer/fetcher.py::Fetcher.fetched_records``); this is never false.
    """

    def __init__(self, active: set[TP], owner: SteadyRebalances) -> None:
        self._active = active
        self._owner = owner
        self._fetch = owner.fetches

    @property
    def valid(self) -> bool:
        return self._fetch == self._owner.fetches

    def __contains__(self, tp: object) -> bool:
        return self.valid and tp in self._active


def steady(app: faust.App, consumer: ConsumerT) -> SteadyRebalances | None:
    """Return the work-around, if this Faust needs it and Kafka is read by aiokafka."""
    if faust.__version__ not in AFFECTED:
        logger.debug("Faust %s is not known to need mend_rebalances", faust.__version__)
        return None
    from faust.transport.drivers.aiokafka import Consumer  # loads aiokafka, which takes a while

    return SteadyRebalances(app, consumer) if isinstance(consumer, Consumer) else None
