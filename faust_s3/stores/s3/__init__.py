"""S3, by boto3: the store, and what its errors mean."""

from __future__ import annotations

from faust_s3.stores.s3.errors import translate
from faust_s3.stores.s3.store import S3Store

__all__ = ["S3Store", "translate"]
