"""How the apps of the tests are made; what they do stands in each of them."""

from __future__ import annotations

import os
from typing import Any, Final

SETTINGS: Final[dict[str, Any]] = {
    "id": os.environ["APP_ID"],
    "broker": os.environ["KAFKA_BROKER"],
    "broker_session_timeout": 10,
    "broker_heartbeat_interval": 1,
    "consumer_auto_offset_reset": "earliest",
    "topic_disable_leader": True,
    "web_enabled": False,
}
