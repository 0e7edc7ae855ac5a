"""The gallery, with offloading on, in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from gallery import Photo, app, originals, photos, shrink, thumbnails

from faust_s3 import ObjectMissing
from faust_s3.testing import World, in_memory

pytestmark = pytest.mark.asyncio

CAT = Photo("cat", "x" * 1_000_000)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with in_memory(app) as world:
        yield world


async def test_a_large_photograph(world: World) -> None:
    """It lies in S3, its claim on the topic, and the agent sees all of it."""
    await photos.send(key="cat", value=CAT)
    await world.settled()
    assert world.sent(thumbnails) == [("cat", "xxxxxxxx", {})]
    (offloaded,) = world.offloaded(photos)
    assert offloaded.size > 1_000_000
    (record,) = world.published(photos)
    assert record.value is not None
    assert len(record.value) < 100


async def test_a_small_photograph(world: World) -> None:
    """It lies on the topic."""
    await photos.send(key="dot", value=Photo("dot", "x"))
    await world.settled()
    assert world.sent(photos) == [("dot", Photo("dot", "x"), {})]
    assert world.offloaded() == []


async def test_an_outage(world: World) -> None:
    """The agent waits for S3, and commits nothing meanwhile."""
    with world.store.unavailable("get"):
        await photos.send(key="cat", value=CAT)
        await world.until(lambda: world.store.failures)
        assert world.committed(photos) == {}
    await world.settled()
    assert len(world.sent(thumbnails)) == 1


async def test_a_lost_photograph(world: World) -> None:
    """The worker stops rather than go on without it."""
    with world.store.unavailable("get"):
        await photos.send(key="cat", value=CAT)
        world.store.lose(world.offloaded(photos)[0].location)
    with pytest.raises(ObjectMissing):
        await world.settled()
    assert world.committed(photos) == {}


async def test_another_worker(world: World) -> None:
    """A worker that takes over has all originals again, from the claims in the changelog."""
    await shrink.cast(CAT, key="cat")
    await world.settled()
    await world.restart()
    assert originals["cat"] == CAT
    assert len(world.sent(thumbnails)) == 1


async def test_small_test_data() -> None:
    """With a threshold for the test, records need not be large."""
    async with in_memory(app, threshold=10) as world:
        await photos.send(key="cat", value=Photo("cat", "123456789"))
        await world.settled()
        assert world.sent(thumbnails) == [("cat", "12345678", {})]
        assert len(world.offloaded(originals)) == 1
