"""What boto3 and the layers below it raise, and which error of ours says what to do about it."""

from __future__ import annotations

from http.client import HTTPException
from typing import Any

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from faust_s3.exceptions import (
    AccessDenied,
    ConfigError,
    RequestRefused,
    S3Error,
    StoreUnavailable,
)
from faust_s3.stores.answers import ForeignAnswer, kind_of_answer, sentence
from faust_s3.stores.base import Location

__all__ = ["FOREIGN", "require", "translate"]

# What comes before or instead of an answer. The first class that matches decides.
_CLASSES: tuple[tuple[type[Exception], type[S3Error]], ...] = (
    (boto.NoCredentialsError, AccessDenied),
    (boto.PartialCredentialsError, AccessDenied),
    (boto.NoAuthTokenError, AccessDenied),
    (boto.SSOError, AccessDenied),  # somebody has to log in
    (getattr(boto, "LoginError", boto.SSOError), AccessDenied),  # not in older botocore
    (boto.RefreshWithMFAUnsupportedError, AccessDenied),
    (boto.CredentialRetrievalError, StoreUnavailable),
    (boto.MetadataRetrievalError, StoreUnavailable),
    (boto.TokenRetrievalError, StoreUnavailable),
    # Among the next are proxies and TLS. Certificates too: one that lapsed is renewed, and
    # until then records wait; a policy that skips bad claims must not skip these.
    (boto.ConnectionError, StoreUnavailable),
    (boto.HTTPClientError, StoreUnavailable),
    (boto.IncompleteReadError, StoreUnavailable),
    (boto.FlexibleChecksumError, StoreUnavailable),
    (ResponseParserError, ForeignAnswer),  # no XML: a page for people
    (boto.ParamValidationError, RequestRefused),  # such as an empty key
    (boto.BotoCoreError, ConfigError),  # profile, region, endpoint, addressing
    (HTTPError, StoreUnavailable),  # urllib3's, from streaming bodies; so are the next two
    (HTTPException, StoreUnavailable),
    (OSError, StoreUnavailable),
    # Redirected, botocore asks for the bucket's region, and is redirected (utils.py, 1.44).
    (RecursionError, ForeignAnswer),
    (RuntimeError, StoreUnavailable),  # renewed, yet expired (botocore/credentials.py, 1.44)
    (ValueError, ConfigError),  # an endpoint that is no URL (botocore/endpoint.py, 1.44)
)

#: What a request may raise. No ValueError: that is boto3's only while it makes a client.
FOREIGN: tuple[type[Exception], ...] = (boto.BotoCoreError, boto.ClientError)
FOREIGN += (ResponseParserError, HTTPError, HTTPException, OSError, RuntimeError)


def translate(exc: Exception, location: Location) -> S3Error:
    """Return the error of ours that says what to do about one of boto3's.

    Args:
        exc: What boto3, or a layer below it, raised.
        location: What the request was about; an empty key stands for the bucket.

    Returns:
        An error to be raised ``from exc``. It carries what the store said and no secrets.
    """
    kind, said = _answer(exc) if isinstance(exc, boto.ClientError) else _failure(exc)
    return sentence(kind, said, location)


def require(answer: Any, location: Location, *names: str) -> None:
    """Refuse an answer without what S3 answers.

    A proxy that answers 200 with a page for people would have stored an object otherwise.

    Raises:
        ForeignAnswer: If one of the names is not there.
    """
    if missing := [name for name in names if name not in answer]:
        raise sentence(ForeignAnswer, f"an answer without {' and '.join(missing)}", location)


def _answer(exc: Any) -> tuple[type[S3Error], str]:
    """Judge an answer of the store."""
    error = exc.response.get("Error", {})
    meta = exc.response.get("ResponseMetadata", {})
    code, status = str(error.get("Code", "")), int(meta.get("HTTPStatusCode") or 0)
    if status == 0 and code.isdecimal():
        status = int(code)  # an answer to HEAD has no body, and its code is the status
    on_object = exc.operation_name not in ("ListObjectsV2", "HeadBucket")
    kind = kind_of_answer(code, status, on_object=on_object)
    said = f"{exc.operation_name} was answered {status or ''} {code}: {error.get('Message', '')}"
    region = meta.get("HTTPHeaders", {}).get("x-amz-bucket-region") or error.get("Region")
    if kind is ConfigError and region:
        said = f"the bucket is in region {region}; {said}"
    elif code in ("AccessDenied", "403") and exc.operation_name in ("GetObject", "HeadObject"):
        said += " (or no such object, and listing the bucket is not allowed)"
    return kind, said


def _failure(exc: Exception) -> tuple[type[S3Error], str]:
    """Judge what happened without an answer."""
    inner = getattr(exc, "kwargs", {}).get("error")
    if isinstance(inner, S3Error):  # raised by Body, wrapped by botocore
        return type(inner), inner.reason
    for known, kind in _CLASSES:
        if isinstance(exc, known):
            return kind, f"{type(exc).__name__}: {exc}"
    raise exc  # not one of boto3's: a mistake of ours
