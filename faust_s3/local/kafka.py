"""The two things that we ask any Kafka broker: are you there, and make me a topic."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from faust_s3.local.process import LocalStackError

__all__ = ["create_topic", "has_brokers"]

_METADATA: Final = 3
_NO_ERROR: Final = 0
_TOPIC_ALREADY_EXISTS: Final = 36
_SOCKET_TIMEOUT: Final = 5.0
_TOPIC_TIMEOUT: Final = 30.0
_POLL: Final = 0.05


def has_brokers(host: str, port: int) -> bool:
    """Ask for the cluster's metadata (version 1, no topics); true if it lists a broker.

    Apache Kafka listens, and answers ApiVersions, a while before it lists itself.
    """
    client_id = b"faust_s3.local"
    request = struct.pack(">hhih", _METADATA, 1, 1, len(client_id)) + client_id
    request += struct.pack(">i", 0)
    with socket.create_connection((host, port), _SOCKET_TIMEOUT) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        with connection.makefile("rb") as reply:
            head = reply.read(12)  # size, correlation id, number of brokers
    return len(head) == 12 and struct.unpack(">iii", head)[2] > 0


def create_topic(
    bootstrap: str,
    name: str,
    *,
    partitions: int = 1,
    config: Mapping[str, str] | None = None,
) -> None:
    """Create a topic and return when all its partitions have a leader.

    A topic that is there already stays as it is. May be called where an event loop runs,
    which it blocks.

    Raises:
        LocalStackError: If the broker refuses, or the topic does not show up in 30 s.
    """
    # asyncio.run() needs a thread without a loop.
    with ThreadPoolExecutor(1, thread_name_prefix="faust-s3-local") as thread:
        thread.submit(
            asyncio.run, _create_topic(bootstrap, name, partitions, dict(config or {}))
        ).result()


async def _create_topic(bootstrap: str, name: str, partitions: int, config: dict[str, str]) -> None:
    from aiokafka.admin import (
        AIOKafkaAdminClient,
        NewTopic,
    )

    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        response = await admin.create_topics(
            [NewTopic(name, partitions, replication_factor=1, topic_configs=config)]
        )
        for _, code, *message in response.topic_errors:
            if code not in (_NO_ERROR, _TOPIC_ALREADY_EXISTS):
                raise LocalStackError(f"topic {name!r} is refused: error {code} {message}")
        deadline = time.monotonic() + _TOPIC_TIMEOUT
        while not _is_served((await admin.describe_topics([name]))[0]):
            if time.monotonic() > deadline:
                raise LocalStackError(
                    f"topic {name!r} has no leaders {_TOPIC_TIMEOUT:g} s after its creation"
                )
            await asyncio.sleep(_POLL)
    finally:
        await admin.close()


def _is_served(topic: Mapping[str, object]) -> bool:
    partitions = topic["partitions"]
    return (
        topic["error_code"] == _NO_ERROR
        and isinstance(partitions, list)
        and bool(partitions)
        and all(partition["leader"] >= 0 for partition in partitions)
    )
