"""What one request of a store costs, in counts: they depend on no machine, and none may rise."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from counts import copies_of, counting_tasks
from faults import Connection, FaultServer

from faust_s3.stores import Location, Store

MIB = 2**20
PARTS = {"multipart_threshold": 5 * MIB, "part_size": 5 * MIB}
PHOTO = Random(1).randbytes(16 * MIB)
SMALL = b"0123456789"
PLACE = Location("bucket", "photo")

MakeStore = Callable[..., Store]


def answer(connection: Connection) -> None:
    """Take everything, and have one object."""
    if connection.command == "GET":
        connection.start_object(len(SMALL))
        connection.wfile.write(SMALL)
    else:
        connection.start(200, 0, ETag='"etag"')


@pytest.mark.may_block  # to make the session
async def test_requests(faults: Callable[..., FaultServer], faulty_s3: MakeStore) -> None:
    """A put is one PUT and a get is one GET, the first ones too; nothing is asked before."""
    server = faults(answer)
    store = faulty_s3(server)
    for _ in range(2):
        await store.put(PLACE, SMALL)
        assert await store.get(PLACE, max_size=len(SMALL)) == SMALL
    assert [method for method, _, _ in server.requests] == ["PUT", "GET"] * 2


@pytest.mark.parametrize("parts", [False, True], ids=["whole", "parts"])
async def test_copies(real_s3: MakeStore, parts: bool, bucket: str) -> None:
    """What is sent is not copied, and what is received is there once, in parts or not."""
    store, place = real_s3(**(PARTS if parts else {})), Location(bucket, "photo")
    await store.put(place, SMALL)  # what is loaded for the first one stays
    copies, _ = await copies_of(len(PHOTO), store.put(place, PHOTO))
    assert copies == 0
    copies, got = await copies_of(len(PHOTO), store.get(place, max_size=len(PHOTO)))
    assert got == PHOTO
    assert copies == 1


async def test_copies_of_a_range(real_s3: MakeStore, bucket: str) -> None:
    """So is a range."""
    store, place = real_s3(), Location(bucket, "photo")
    await store.put(place, PHOTO)
    copies, got = await copies_of(8 * MIB, store.get_range(place, MIB, 9 * MIB))
    assert got == PHOTO[MIB : 9 * MIB]
    assert copies == 1


async def test_tasks(real_store: MakeStore, bucket: str) -> None:
    """boto3's requests run in threads that are there already, and need no task."""
    store, place = real_store(), Location(bucket, "photo")
    with counting_tasks() as tasks:
        await store.put(place, SMALL)
        await store.get(place, max_size=len(SMALL))
    assert len(tasks) == 0
