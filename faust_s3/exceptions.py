"""Errors, told apart by what to do next.

::

    S3Error
    ├── StoreUnavailable        wait and try again: the record is fine, the store is not
    ├── PermanentError          trying again will not help
    │   ├── ClaimError          the envelope is malformed, or names a place we do not trust
    │   ├── ObjectMissing       the store answers that there is no such object
    │   ├── IntegrityError      the object's size or SHA-256 is not what the claim says
    │   ├── PayloadTooLarge     larger than the configured cap, or than the store accepts
    │   ├── AccessDenied        the credentials are wrong or may not do this
    │   ├── BucketMissing       the store answers that there is no such bucket
    │   └── RequestRefused      the store refuses the request for another reason
    └── ConfigError             a setting, a topic or a codec chain is wrong

None of them derives from Faust's ``DecodeError``: Faust acknowledges a message whose
decoding raises one (``faust/transport/conductor.py``), and none of these may do that.
"""

from __future__ import annotations

from typing import Any

from click import ClickException
from faust.exceptions import ImproperlyConfigured

__all__ = [
    "AccessDenied",
    "BucketMissing",
    "ClaimError",
    "ConfigError",
    "IntegrityError",
    "ObjectMissing",
    "PayloadTooLarge",
    "PermanentError",
    "RequestRefused",
    "S3Error",
    "StoreUnavailable",
]


class S3Error(Exception):
    """Base of every error that this package raises.

    Attributes:
        reason: One sentence without coordinates.
        bucket: Bucket of the object at hand, if any.
        key: Object key, if any.
        topic: Kafka topic, if known.
        partition: Kafka partition, if known.
        offset: Kafka offset, if known.
        size: Size in bytes that the sentence speaks of, if any.
        attempts: How many requests were tried, if more than one may have been.
    """

    _coordinates = ("bucket", "key", "topic", "partition", "offset", "size", "attempts")

    def __init__(
        self,
        reason: str,
        *,
        bucket: str | None = None,
        key: str | None = None,
        topic: str | None = None,
        partition: int | None = None,
        offset: int | None = None,
        size: int | None = None,
        attempts: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.bucket = bucket
        self.key = key
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.size = size
        self.attempts = attempts

    def __str__(self) -> str:
        known = [
            f"{name}={value!r}"
            for name in self._coordinates
            if (value := getattr(self, name)) is not None
        ]
        return f"{self.reason} ({', '.join(known)})" if known else self.reason

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own __reduce__ would drop the keyword arguments.
        coordinates = {name: getattr(self, name) for name in self._coordinates}
        return type(self), (self.reason,), coordinates

    def at(
        self,
        *,
        topic: str | None = None,
        partition: int | None = None,
        offset: int | None = None,
        attempts: int | None = None,
    ) -> S3Error:
        """Add what the raiser could not know, keep what it did, and return self."""
        self.topic = self.topic if self.topic is not None else topic
        self.partition = self.partition if self.partition is not None else partition
        self.offset = self.offset if self.offset is not None else offset
        self.attempts = self.attempts if self.attempts is not None else attempts
        return self


class StoreUnavailable(S3Error):
    """The store did not answer, or asked for less: try again later.

    Timeouts, refused and reset connections, DNS failures, 5xx, throttling, expired
    credentials that may be refreshed, and bodies that end too early.
    """


class PermanentError(S3Error):
    """The same request will fail the same way: somebody has to change something."""


class ClaimError(PermanentError):
    """An envelope that cannot be read, or that names a bucket or prefix not allowed."""


class ObjectMissing(PermanentError):
    """There is no such object (``NoSuchKey``, 404)."""


class IntegrityError(PermanentError):
    """The stored bytes are not the bytes that were offloaded."""


class PayloadTooLarge(PermanentError):
    """More bytes than a cap allows; raised before they are read or sent."""


class AccessDenied(PermanentError):
    """The credentials are missing, wrong, or do not allow the request (401, 403)."""


class BucketMissing(PermanentError):
    """There is no such bucket (``NoSuchBucket``)."""


class RequestRefused(PermanentError):
    """The store refuses the request for a reason that is not one of the others (4xx)."""


class ConfigError(S3Error, ImproperlyConfigured, ClickException):
    """A setting is wrong. The sentence names the field, the value and the rule.

    ``faust -A app worker`` imports the app inside Click, which shows its own errors in one line
    and ends with exit code 1, and any other with a traceback.
    """

    def format_message(self) -> str:
        """Return what Click shows."""
        return str(self)
