"""What obstore raises, and which error of ours says what to do about it.

Its exceptions carry no status and no code, only what was said, so that is read.
"""

from __future__ import annotations

import re

from obstore import exceptions as obstore

from faust_s3.exceptions import (
    AccessDenied,
    BucketMissing,
    ConfigError,
    ObjectMissing,
    RequestRefused,
    S3Error,
    StoreUnavailable,
)
from faust_s3.stores.answers import ForeignAnswer, kind_of_answer, sentence
from faust_s3.stores.base import Location

__all__ = ["FOREIGN", "ends_before", "translate"]

#: What a request may raise: OSError is for FileNotFoundError, ValueError for paths.
FOREIGN: tuple[type[Exception], ...] = (obstore.BaseError, OSError, ValueError)

# What comes without an answer that has a status. The first class that matches decides.
_CLASSES: tuple[tuple[type[Exception], type[S3Error]], ...] = (
    (FileNotFoundError, ObjectMissing),
    (obstore.PermissionDeniedError, AccessDenied),
    (obstore.UnauthenticatedError, AccessDenied),
    (obstore.PreconditionError, StoreUnavailable),
    (obstore.InvalidPathError, RequestRefused),
    (obstore.NotSupportedError, RequestRefused),
    (obstore.UnknownConfigurationKeyError, ConfigError),
    (obstore.BaseError, StoreUnavailable),  # connections, timeouts, bodies that end early
    (ValueError, RequestRefused),  # keys that are no paths
    (OSError, StoreUnavailable),
)

#: What it says of answers that lack what those of stores have.
_FOREIGN_ANSWERS = ("non-partial response when range requested", "Header missing from response")
#: What our provider of credentials raised, as obstore repeats it.
_PROVIDER = re.compile(r"credential provider: (StoreUnavailable|AccessDenied|ConfigError): (.*)")
_KINDS: dict[str, type[S3Error]] = {
    kind.__name__: kind for kind in (StoreUnavailable, AccessDenied, ConfigError)
}


def _code_of(exc: Exception) -> str:
    """Return the store's own code for an error, if it gave one."""
    found = re.search(r"<Code>\s*([\w.]+)", str(exc))
    return found[1] if found else ""


def translate(exc: Exception, location: Location) -> S3Error:
    """Return the error of ours that says what to do about one of obstore's.

    Args:
        exc: What obstore raised.
        location: What the request was about; an empty key stands for the bucket.

    Returns:
        An error to be raised ``from exc``. It carries what the store said and no secrets.
    """
    said = str(exc).partition("\n\nDebug source")[0]
    if told := _PROVIDER.search(said):
        return _KINDS[told[1]](told[2], bucket=location.bucket, key=location.key or None)
    kind = _kind(exc, said, on_object=bool(location.key))
    return sentence(kind, _short(said), location)


def ends_before(exc: Exception) -> bool:
    """Tell whether the error is that the object ends before a range begins."""
    said = str(exc)
    return any(
        words in said
        for words in (
            "status code: 416",
            "<Code>InvalidRange</Code>",
            "Wanted range starting at",  # memory
            "Requested range was invalid",  # directories
            'CONTENT_RANGE header: "bytes 0--1/0"',  # Azurite, of an empty object
        )
    )


def _kind(exc: Exception, said: str, *, on_object: bool) -> type[S3Error]:
    found = re.search(r"status code: (\d{3})", said)
    status = found[1] if found else ""
    code = _code_of(exc) or status  # an answer to HEAD has no body
    if code:
        return kind_of_answer(code, int(status or 0), on_object=on_object)
    if "specified container does not exist" in said:  # Azure's answer to a delete
        return BucketMissing
    if any(words in said for words in _FOREIGN_ANSWERS):
        return ForeignAnswer
    if "incorrectly configured region" in said:
        return ConfigError
    if "os error 13" in said or "os error 1)" in said:  # EACCES, EPERM: of directories
        return AccessDenied
    return next(kind for known, kind in _CLASSES if isinstance(exc, known))


def _short(said: str) -> str:
    """Return what was said without the markup around it."""
    first = said.partition("<")[0].strip(" :\n")
    parts = [first, _code_of(Exception(said))]
    if message := re.search(r"<Message>([^<]*)", said):
        parts.append(message[1])
    return ": ".join(filter(None, parts))
