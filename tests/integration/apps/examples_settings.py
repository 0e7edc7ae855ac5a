"""What the example apps share; what they do stands in each of them."""

from __future__ import annotations

import os
from typing import Final

from app_settings import SETTINGS as _SETTINGS

#: What the topics of a run begin with.
NAME: Final = os.environ["RECORDS"]
PARTITIONS: Final = 2
SETTINGS: Final = _SETTINGS | {"topic_partitions": PARTITIONS}
#: Bytes, between the small records of the test and the large ones.
THRESHOLD: Final = 100_000
