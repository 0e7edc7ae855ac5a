"""Where the example apps run; what they do stands in each of them."""

from __future__ import annotations

import os
from typing import Any, Final

#: What the topics of a run begin with.
NAME: Final = os.environ["RECORDS"]
PARTITIONS: Final = 2
SETTINGS: Final[dict[str, Any]] = {
    "id": os.environ["APP_ID"],
    "broker": os.environ["KAFKA_BROKER"],
    "broker_session_timeout": 10,
    "broker_heartbeat_interval": 1,
    "consumer_auto_offset_reset": "earliest",
    "topic_partitions": PARTITIONS,
    "topic_disable_leader": True,
    "web_enabled": False,
}
#: Bytes, between the small records of the test and the large ones.
THRESHOLD: Final = 100_000
