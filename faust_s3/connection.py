"""A reader of Kafka with the connection of an app, for what is no stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import faust
from aiokafka import AIOKafkaConsumer
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth, server_list

__all__ = ["RELIED_ON", "partitions", "reader"]


def reader(app: faust.App) -> AIOKafkaConsumer:
    """Return a consumer, in no group, with the app's brokers, credentials and SSL.

    Mirrors ``faust/transport/drivers/aiokafka.py::AIOKafkaConsumerThread`` of 0.15.3.
    """
    conf: Any = app.conf
    transport: Any = app.transport
    return AIOKafkaConsumer(
        client_id=conf.broker_client_id,
        bootstrap_servers=server_list(transport.url, transport.default_port),
        request_timeout_ms=int(conf.broker_request_timeout * 1000.0),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=conf.consumer_max_fetch_size,
        check_crcs=conf.broker_check_crcs,
        **credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
    )


async def partitions(consumer: AIOKafkaConsumer) -> dict[str, set[int]]:
    """Return all topics that there are, and their partitions, without making one.

    Mirrors ``aiokafka/consumer/consumer.py::AIOKafkaConsumer.topics`` of 0.14.0, which returns
    only the names.
    """
    cluster = await consumer._client.fetch_all_metadata()
    return {topic: cluster.partitions_for_topic(topic) for topic in cluster.topics()}


#: As ``internals.RELIED_ON``.
RELIED_ON: Final[Mapping[str, str]] = {
    "aiokafka.consumer.consumer:AIOKafkaConsumer.topics": "its client lists the whole cluster",
    "faust.transport.drivers.aiokafka:credentials_to_aiokafka_auth": (
        "it makes the arguments of aiokafka's clients from an app's settings"
    ),
    "faust.transport.drivers.aiokafka:server_list": "it makes bootstrap_servers of URLs",
}
