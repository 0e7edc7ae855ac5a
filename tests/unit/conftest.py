"""Unit tests: no network, no servers, no sleeping; guarded."""

from __future__ import annotations

import os

from guards import (
    blocking_calls,
    no_blocking_calls,
    no_leaked_tasks,
    no_leaked_threads,
    pytest_configure,
    tasks_on_loop,
    time_limit,
)
from hypothesis import settings

__all__ = [
    "blocking_calls",
    "no_blocking_calls",
    "no_leaked_tasks",
    "no_leaked_threads",
    "pytest_configure",
    "tasks_on_loop",
    "time_limit",
]

settings.register_profile("moderate", max_examples=200, deadline=None)
settings.register_profile("thorough", max_examples=5000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "moderate"))
