"""Test an app with offloading on, in memory, without servers.

    >>> from faust_s3.testing import in_memory
    >>> async with in_memory(app) as world:
    ...     await photos.send(key="cat", value=Photo("cat", "x" * 1_000_000))
    ...     await world.settled()
    ...     assert world.sent(thumbnails) == [("cat", "xxxxxxxx", {})]

All of it: ``docs/testing.md``.
"""

from __future__ import annotations

from faust_s3.testing.broker import Record
from faust_s3.testing.records import Offloaded, Sent
from faust_s3.testing.store import FakeStore, Request
from faust_s3.testing.world import World, in_memory

__all__ = ["FakeStore", "Offloaded", "Record", "Request", "Sent", "World", "in_memory"]
