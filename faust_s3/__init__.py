"""Large records in Faust: payloads go to S3, topics carry small claims.

    >>> from faust_s3 import S3
    >>> s3 = S3(app, "s3://my-bucket/photos")
    >>> photos = app.topic("photos", value_type=Photo, value_serializer="json|s3")

Importing this package has no side effect.
"""

from __future__ import annotations

from faust_s3.config import Config
from faust_s3.exceptions import (
    AccessDenied,
    BucketMissing,
    ClaimError,
    ConfigError,
    IntegrityError,
    ObjectMissing,
    PayloadTooLarge,
    PermanentError,
    RequestRefused,
    S3Error,
    StoreUnavailable,
)
from faust_s3.extension import S3
from faust_s3.payload import Payload

__all__ = [
    "S3",
    "AccessDenied",
    "BucketMissing",
    "ClaimError",
    "Config",
    "ConfigError",
    "IntegrityError",
    "ObjectMissing",
    "Payload",
    "PayloadTooLarge",
    "PermanentError",
    "RequestRefused",
    "S3Error",
    "StoreUnavailable",
]

__version__ = "0.1.0"
