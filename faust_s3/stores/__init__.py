"""Stores: the contract, and what fulfils it."""

from __future__ import annotations

from faust_s3.stores.base import Location, ObjectInfo, Store, Upload
from faust_s3.stores.memory import MemoryStore

__all__ = ["Location", "MemoryStore", "ObjectInfo", "Store", "Upload"]
