"""What we rely on inside Faust beyond its documented API.

Each function names the file and the version of Faust that it mirrors. Everything else in
this package uses public names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from heapq import heapify, heappush
from typing import Any, Final, cast

from faust import App, Topic
from faust.app._attached import Attachment
from faust.exceptions import ProducerSendError
from faust.types import TP, AppT, ConsumerT, HeadersArg, Message
from faust.types.tuples import FutureMessage
from mode.utils.objects import Unordered

__all__ = [
    "CommitGate",
    "commit_twice",
    "consumer_of",
    "record_room",
    "set_topic_class",
    "topic_class",
    "wait_for_metadata",
]

#: aiokafka 0.14.0, ``record/_crecords/default_records.pyx``: a batch header has 61 bytes
#: and a record at most 21 besides its key, value and headers, whose lengths take up to 5
#: bytes each; our own inline envelope adds up to 17. Rounded up.
_RECORD_OVERHEAD: Final = 128
_LENGTHS: Final = 10


def record_room(max_request_size: int, key: bytes | None, headers: HeadersArg | None) -> int:
    """Return how many bytes of value the producer takes beside this key and these headers."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    taken = len(key or b"") + sum(
        len(name.encode()) + len(value or b"") + _LENGTHS for name, value in pairs
    )
    return max_request_size - _RECORD_OVERHEAD - taken


def topic_class(conf: Any) -> type[Topic]:
    """Return the ``Topic`` setting without marking it as read.

    Mirrors ``faust/types/settings/base.py::Settings.__getattribute__`` of 0.15.3.
    """
    return cast("type[Topic]", object.__getattribute__(conf, "Topic"))


def set_topic_class(conf: Any, cls: type[Topic]) -> None:
    """Change the ``Topic`` setting, which other topics may have read already.

    Mirrors ``faust/types/settings/base.py::Settings.__setattr__`` of 0.15.3, which would
    warn: topics made before stay as they are, and we check for that when the app starts.
    """
    object.__setattr__(conf, "Topic", cls)


class CommitGate:
    """Has things happen before an offset is committed, or prevents the commit.

    This is Faust's own way for messages that are published on commit:
    ``faust/app/_attached.py::Attachments`` and
    ``faust/transport/consumer.py::Consumer._handle_attached`` of 0.15.3. Unlike another
    reference on the message it also holds when offsets are acknowledged out of order.

    Args:
        app: The app.
    """

    def __init__(self, app: AppT) -> None:
        self._app = app
        self._waiters: dict[TP, set[_Waiter]] = defaultdict(set)

    def before_commit(self, message: Message, wait: Callable[[], Awaitable[Any]]) -> None:
        """Have ``await wait()`` succeed before an offset beyond ``message`` is committed.

        As long as it raises, nothing is committed; a ``ProducerSendError`` crashes the
        consumer.
        """
        # Faust compares with the offset that it commits, which is the next one to be read.
        self._add(message.tp, message.offset + 1, wait)

    def close(self, partitions: Iterable[TP], reason: str) -> None:
        """Prevent every commit from now on."""

        async def refuse() -> None:
            raise ProducerSendError(f"nothing is committed any more: {reason}")

        for tp in partitions:
            self._add(tp, 0, refuse)

    def forget(self, partitions: Iterable[TP]) -> None:
        """Drop what waits for partitions that were revoked: they are another worker's now."""
        pending = cast(App, self._app)._attachments._pending
        for tp in partitions:
            if ours := cast("set[object]", self._waiters.pop(tp, None)):
                pending[tp] = [entry for entry in pending[tp] if entry.message.value not in ours]
                heapify(pending[tp])

    def _add(self, tp: TP, offset: int, wait: Callable[[], Awaitable[Any]]) -> None:
        waiter = _Waiter(self, tp, offset, wait)
        self._waiters[tp].add(waiter)
        self._attach(waiter)

    def _attach(self, waiter: _Waiter) -> None:
        pending = cast(App, self._app)._attachments._pending[waiter.tp]
        attached = cast(FutureMessage, waiter)
        heappush(pending, Attachment(waiter.offset, Unordered(attached)))

    def _done(self, waiter: _Waiter) -> None:
        self._waiters[waiter.tp].discard(waiter)

    def _again(self, tp: TP) -> None:
        # A commit takes all its attachments before it awaits the first one, so that those
        # behind the one that failed would be forgotten.
        for waiter in self._waiters[tp]:
            self._attach(waiter)


class _Waiter:
    """Looks like an attached ``FutureMessage`` to the consumer that is about to commit."""

    def __init__(
        self, gate: CommitGate, tp: TP, offset: int, wait: Callable[[], Awaitable[Any]]
    ) -> None:
        self.message = self
        self.channel = self
        self.tp = tp
        self.offset = offset
        self._gate = gate
        self._wait = wait

    async def publish_message(self, fut: Any, wait: bool = False) -> Any:
        try:
            result = await self._wait()
        except BaseException:
            self._gate._again(self.tp)
            raise
        self._gate._done(self)
        return result


def consumer_of(app: AppT) -> ConsumerT | None:
    """Return the app's consumer without making one, as ``app.consumer`` would.

    Mirrors ``faust/app/base.py::App.consumer`` of 0.15.3.
    """
    return cast(App, app)._consumer


async def commit_twice(consumer: ConsumerT) -> None:
    """Commit what has been acknowledged when this is called.

    ``faust/transport/consumer.py::Consumer.commit`` of 0.15.3 only waits for a commit that
    is under way, and does not commit itself then.
    """
    await consumer.commit()
    await consumer.commit()


async def wait_for_metadata(app: AppT, topic: str) -> None:
    """Make sure that the producer knows the partitions of a topic.

    ``Producer.key_partition`` needs them and does not ask for them itself
    (``faust/transport/drivers/aiokafka.py`` of 0.15.3).
    """
    producer: Any = app.producer
    await producer.maybe_start()
    await producer._ensure_producer().partitions_for(topic)
