"""Unit tests: no network, no servers, no sleeping."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("moderate", max_examples=200, deadline=None)
settings.register_profile("thorough", max_examples=5000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "moderate"))
