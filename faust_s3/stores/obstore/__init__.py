"""S3, Google Cloud Storage, Azure Blob, directories and memory, by obstore (Rust)."""

from __future__ import annotations

from faust_s3.stores.obstore.errors import translate
from faust_s3.stores.obstore.store import ObstoreStore

__all__ = ["ObstoreStore", "translate"]
