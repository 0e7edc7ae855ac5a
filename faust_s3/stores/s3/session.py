"""boto3's chain of credentials, for clients that are not boto3's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import boto3

from faust_s3.exceptions import AccessDenied
from faust_s3.stores.base import Location
from faust_s3.stores.s3.errors import FOREIGN, translate

__all__ = ["open_session", "provider"]


def open_session(session: Any | None, profile: str | None, bucket: str) -> Any:
    """Return a session of boto3.

    Args:
        session: One that there is already.
        profile: Profile of the AWS configuration files, for a new one.
        bucket: For errors.

    Raises:
        S3Error: If boto3 cannot make one.
    """
    try:
        return session if session is not None else boto3.Session(profile_name=profile)
    except FOREIGN as exc:
        raise translate(exc, Location(bucket, "")) from exc


def provider(session: Any, bucket: str, *, ttl: timedelta) -> Callable[[], Any]:
    """Return obstore's provider of credentials of a session; may block.

    Args:
        session: Of boto3.
        bucket: For errors.
        ttl: How long obstore keeps credentials before it asks again.

    Raises:
        S3Error: If there are none.
    """
    from obstore.auth.boto3 import Boto3CredentialProvider

    place = Location(bucket, "")
    try:
        inner = Boto3CredentialProvider(session, ttl=ttl)
    except FOREIGN as exc:
        raise translate(exc, place) from exc
    except ValueError:  # it says only that there are none
        raise AccessDenied("access is denied: boto3 finds no credentials", bucket=bucket) from None

    def credentials() -> Any:
        try:
            return inner()
        except FOREIGN as exc:
            raise translate(exc, place) from exc  # obstore passes on its name and its words

    return credentials
