"""Blocking requests with a deadline, and the threads that run them for event loops."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from io import BytesIO
from itertools import count
from typing import Any, TypeVar

from faust_s3.exceptions import S3Error, StoreUnavailable
from faust_s3.stores.base import Location
from faust_s3.stores.pool import Pool

__all__ = ["Body", "Request", "Threads", "Whole"]

R = TypeVar("R")
T = TypeVar("T")

CHUNK = 2**18  # bytes between two looks at the deadline
PARTS_AT_ONCE = 4  # of one object: enough to fill a link, not enough to starve the others
CLOSE_GRACE = 2.0  # s that close() waits for running requests; they end by their timeouts

Call = Callable[[Any, "Request"], T]
Futures = list[Future[Any]]


class Request:
    """One request: its place, its deadline, and whether anybody still waits for it."""

    def __init__(self, location: Location, timeout: float) -> None:
        self.location = location
        self.timeout = timeout
        self.started: float | None = None
        self.abandoned = False

    def begin(self) -> None:
        """Start the clock, in the thread that works."""
        self.started = time.monotonic()
        self.check()

    def check(self) -> None:
        """Raise StoreUnavailable if it is too late, or nobody waits any more."""
        late = self.started is not None and time.monotonic() - self.started > self.timeout
        if late or self.abandoned:
            raise self.too_late()

    def too_late(self) -> StoreUnavailable:
        """Return the error of a deadline that passed."""
        return StoreUnavailable(
            f"the store is not available: no complete answer within {self.timeout:g} s",
            bucket=self.location.bucket,
            key=self.location.key or None,
        )

    def body(self, data: memoryview | bytes) -> Body:
        """Return what the client is to send."""
        return Body(memoryview(data), self.check)

    def read(self, raw: Any, into: memoryview) -> None:
        """Read as many bytes of a body as there is room for, in the pieces in which they come.

        The room is given back, whatever happens.
        """
        with into:
            self._read(raw, into)

    def _read(self, raw: Any, into: memoryview) -> None:
        # read() would sit out a server that sends a byte now and then; read1() returns
        # with what is there. urllib3 has it since 2.1.
        read = getattr(raw, "read1", raw.read)
        size, at = len(into), 0
        while at < size:
            self.check()
            piece = read(min(size - at, CHUNK))
            if not piece:
                raise StoreUnavailable(
                    f"the store is not available: the body ended {size - at} bytes early",
                    bucket=self.location.bucket,
                    key=self.location.key,
                    size=size,
                )
            into[at : at + len(piece)] = piece
            at += len(piece)


class Whole:
    """Bytes that arrive in pieces, in any order and from several threads, and are held once.

    Joined, they would be there twice for a moment. CPython's ``BytesIO`` takes over a fresh
    bytes object, and returns the same one; its pages take no memory before they are written.

    Args:
        size: Bytes.

    Attributes:
        view: Where the pieces are written.
    """

    def __init__(self, size: int) -> None:
        self._file = BytesIO(bytes(size))
        self.view = self._file.getbuffer()

    def done(self) -> bytes:
        """Return all of it; nothing can be written any more."""
        self.view.release()
        return self._file.getvalue()

    def __del__(self) -> None:
        # A failed request is garbage in a cycle, with its traceback. CPython 3.13 complains of
        # a BytesIO that goes before its buffer.
        self.view.release()


class Body:
    """A request body that goes out piece by piece, without a copy, until its deadline.

    A file to boto3, which would make one of bytes anyway, and send it 16 KiB at a time.
    urllib3 gives each piece the connect timeout.
    """

    def __init__(self, data: memoryview, check: Callable[[], None]) -> None:
        self._data = data
        self._check = check
        self._at = 0

    def __len__(self) -> int:
        return len(self._data)

    def read(self, size: int = -1) -> memoryview:
        """Return the next piece."""
        self._check()
        piece = self._data[self._at : self._at + CHUNK]  # more than urllib3's 16 KiB is fine
        self._at += len(piece)
        return piece

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move, as files do: boto3 reads a body once to sign it and once to send it."""
        self._at = (0, self._at, len(self._data))[whence] + offset
        return self._at


class Threads:
    """The threads that requests run in, and the client that they share.

    Both are made by the first request and given back by :meth:`close`; the next request
    makes new ones. Any event loop and thread may use them.

    Args:
        make_client: Makes a client; may block. The client has a ``close()``.
        foreign: The client's errors.
        translate: Makes one of ours from one of them.
        concurrency: Threads, at most.
        timeout: Seconds of one request, counted in its thread.
        slack: Seconds more until its caller gives up on it.
    """

    def __init__(
        self,
        make_client: Callable[[], Any],
        *,
        foreign: tuple[type[Exception], ...],
        translate: Callable[[Exception, Location], S3Error],
        concurrency: int,
        timeout: float,
        slack: float,
    ) -> None:
        self._make_client = make_client
        self._foreign = foreign
        self._translate = translate
        self._concurrency = concurrency
        self._timeout = timeout
        self._limit = timeout + slack
        self._opened: _Opened | None = None
        self._lock = threading.Lock()  # guards _opened; never held across I/O

    def submit(self, location: Location, call: Call[T]) -> tuple[Request, Future[T]]:
        """Start one request that nobody has to wait for."""
        return self._submit(location, call, _same)

    def _submit(
        self, location: Location, call: Call[T], then: Callable[[T], R]
    ) -> tuple[Request, Future[R]]:
        request = Request(location, self._timeout)
        with self._lock:
            if self._opened is None:
                self._opened = _Opened(self._make_client, self._concurrency)
            work = partial(self._work, self._opened, request, call, then)
            return request, self._opened.pool.submit(work)

    def _work(self, opened: _Opened, request: Request, call: Call[T], then: Callable[[T], R]) -> R:
        try:
            client = opened.client()
            request.begin()
            result = call(client, request)
        except self._foreign as exc:
            raise self._translate(exc, request.location) from exc
        return then(result)

    async def run(self, location: Location, call: Call[T], *, futures: Futures | None = None) -> T:
        """Run one request, and wait for it no longer than it may take.

        Raises:
            StoreUnavailable: As :meth:`run_then`.
        """
        return await self.run_then(location, call, _same, futures=futures)

    async def run_then(
        self,
        location: Location,
        call: Call[T],
        then: Callable[[T], R],
        *,
        futures: Futures | None = None,
    ) -> R:
        """Run one request and what is made of its result, and wait no longer than it may take.

        Args:
            location: What it is about.
            call: What to do with the client, in a thread.
            then: Called with its result, in the same thread; its errors are its own.
            futures: Where to note that it was started.

        Raises:
            StoreUnavailable: If it takes too long. Like one that is cancelled, it is told
                to stop and may still take effect.
        """
        request, future = self._submit(location, call, then)
        if futures is not None:
            futures.append(future)
        waiter = asyncio.wrap_future(future)
        try:
            await asyncio.wait({waiter}, timeout=self._limit)
            if not waiter.done() and request.started is not None:
                # It queued behind other objects' parts: its time began later.
                left = request.started + self._limit - time.monotonic()
                await asyncio.wait({waiter}, timeout=max(left, 0.0))
            if not waiter.done():
                raise request.too_late()
            return waiter.result()
        finally:
            request.abandoned = True
            future.cancel()
            if not waiter.cancel() and not waiter.cancelled():
                waiter.exception()  # seen, even if we were cancelled as it came

    async def run_many(
        self, location: Location, calls: Iterable[Call[T]], *, futures: Futures | None = None
    ) -> list[T]:
        """Run requests, a few at a time, and return what they did, in order.

        The first one that fails stops the others.
        """
        numbered = zip(count(), calls)
        results: dict[int, T] = {}

        async def work() -> None:
            for number, call in numbered:
                results[number] = await self.run(location, call, futures=futures)

        workers = [asyncio.ensure_future(work()) for _ in range(PARTS_AT_ONCE)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return [results[number] for number in sorted(results)]

    async def close(self) -> None:
        """Give back threads and client. What runs ends by itself, and we wait a little."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            # asyncio.wait leaves the rest to the closing thread when the grace is over.
            await asyncio.wait({asyncio.wrap_future(opened.shut())}, timeout=CLOSE_GRACE)


def _same(result: T) -> T:
    return result


class _Opened:
    """What close() gives back."""

    def __init__(self, make_client: Callable[[], Any], concurrency: int) -> None:
        self.pool = Pool(concurrency, "faust-s3")
        self._make_client = make_client
        self._client: Any = None
        self._lock = threading.Lock()

    def client(self) -> Any:
        with self._lock:  # held while the client is made: the other threads need it too
            if self._client is None:
                self._client = self._make_client()
            return self._client

    def shut(self) -> Future[None]:
        """Let running requests end, then close the client, all in a thread that ends too."""
        closer = Pool(1, "faust-s3-close")
        closed = closer.submit(self._shut)
        closer.close()
        return closed

    def _shut(self) -> None:
        self.pool.close()
        self.pool.join()
        if self._client is not None:
            self._client.close()
