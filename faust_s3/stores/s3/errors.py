"""What boto3 and the layers below it raise, and which error of ours says what to do about it."""

from __future__ import annotations

from http.client import HTTPException
from typing import Any

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from faust_s3.exceptions import (
    AccessDenied,
    BucketMissing,
    ConfigError,
    ObjectMissing,
    PayloadTooLarge,
    RequestRefused,
    S3Error,
    StoreUnavailable,
)
from faust_s3.stores.base import Location

__all__ = ["FOREIGN", "translate"]

# What a store's error code calls for. A code that is not listed goes by its HTTP status.
_CODES: dict[str, type[S3Error]] = {
    code: kind
    for kind, codes in (
        # Asked for less, or for later.
        (StoreUnavailable, "SlowDown RequestLimitExceeded BandwidthLimitExceeded ServerBusy Busy"),
        (StoreUnavailable, "TooManyRequests TooManyRequestsException ServiceUnavailable"),
        (StoreUnavailable, "InternalError InternalFailure InternalServerError TemporaryRedirect"),
        (StoreUnavailable, "RequestTimeout RequestTimeoutException IDPCommunicationError"),
        (StoreUnavailable, "OperationAborted ConditionalRequestConflict"),
        # Credentials that boto3 renews, clocks that are set right.
        (StoreUnavailable, "ExpiredToken ExpiredTokenException TokenRefreshRequired"),
        (StoreUnavailable, "RequestTimeTooSkewed RequestExpired"),
        # Bytes damaged or lost on the wire.
        (StoreUnavailable, "BadDigest InvalidDigest IncompleteBody"),
        (StoreUnavailable, "XAmzContentSHA256Mismatch XAmzContentChecksumMismatch"),
        # Somebody replaced the object or ended the upload: begin anew.
        (StoreUnavailable, "PreconditionFailed InvalidRange NoSuchUpload InvalidPart"),
        (ObjectMissing, "NoSuchKey NotFound 404"),
        (BucketMissing, "NoSuchBucket"),
        (AccessDenied, "AccessDenied AccessDeniedException Forbidden AllAccessDisabled"),
        (AccessDenied, "InvalidAccessKeyId SignatureDoesNotMatch InvalidToken InvalidSecurity"),
        (AccessDenied, "AccountProblem InvalidPayer NotSignedUp UnauthorizedAccess"),
        (AccessDenied, "InvalidClientTokenId UnrecognizedClientException InvalidIdentityToken"),
        (PayloadTooLarge, "EntityTooLarge MaxMessageLengthExceeded"),
        (ConfigError, "PermanentRedirect AuthorizationHeaderMalformed InvalidBucketName"),
        (ConfigError, "IllegalLocationConstraintException InvalidRegionName"),
        # 403 and 501, but neither a matter of permission nor of time.
        (RequestRefused, "InvalidObjectState NotImplemented"),
    )
    for code in codes.split()
}

_STATUSES: dict[int, type[S3Error]] = {
    **dict.fromkeys((307, 408, 409, 412, 425, 429), StoreUnavailable),
    **dict.fromkeys((401, 403), AccessDenied),
    **{301: ConfigError, 413: PayloadTooLarge},
}

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
    (ResponseParserError, StoreUnavailable),  # no XML: a proxy's page, or an answer cut short
    (boto.ParamValidationError, RequestRefused),  # such as an empty key
    (boto.BotoCoreError, ConfigError),  # profile, region, endpoint, addressing
    (HTTPError, StoreUnavailable),  # urllib3's, from streaming bodies; so are the next two
    (HTTPException, StoreUnavailable),
    (OSError, StoreUnavailable),
    (RuntimeError, StoreUnavailable),  # renewed, yet expired (botocore/credentials.py, 1.44)
    (ValueError, ConfigError),  # an endpoint that is no URL (botocore/endpoint.py, 1.44)
)

#: What a request may raise. No ValueError: that is boto3's only while it makes a client.
FOREIGN: tuple[type[Exception], ...] = (boto.BotoCoreError, boto.ClientError)
FOREIGN += (ResponseParserError, HTTPError, HTTPException, OSError, RuntimeError)

_SENTENCES: dict[type[S3Error], str] = {
    StoreUnavailable: "the store is not available",
    ObjectMissing: "there is no such object",
    BucketMissing: "there is no such bucket",
    AccessDenied: "access is denied",
    PayloadTooLarge: "the store does not take an object of this size",
    ConfigError: "the settings do not fit the store",
    RequestRefused: "the request is refused",
}


def translate(exc: Exception, location: Location) -> S3Error:
    """Return the error of ours that says what to do about one of boto3's.

    Args:
        exc: What boto3, or a layer below it, raised.
        location: What the request was about; an empty key stands for the bucket.

    Returns:
        An error to be raised ``from exc``. It carries what the store said and no secrets.
    """
    kind, said = _answer(exc) if isinstance(exc, boto.ClientError) else _failure(exc)
    said = " ".join(said.split())[:400]  # one line, however much HTML a proxy sent
    return kind(f"{_SENTENCES[kind]}: {said}", bucket=location.bucket, key=location.key or None)


def _answer(exc: Any) -> tuple[type[S3Error], str]:
    """Judge an answer of the store."""
    error = exc.response.get("Error", {})
    meta = exc.response.get("ResponseMetadata", {})
    code, status = str(error.get("Code", "")), int(meta.get("HTTPStatusCode") or 0)
    if status == 0 and code.isdecimal():
        status = int(code)  # an answer to HEAD has no body, and its code is the status
    on_object = exc.operation_name not in ("ListObjectsV2", "HeadBucket")
    kind = _CODES.get(code)
    if kind is ObjectMissing and not on_object:
        kind = BucketMissing
    elif kind is None and "Throttl" in code:
        kind = StoreUnavailable
    elif kind is None:
        kind = StoreUnavailable if status >= 500 else _STATUSES.get(status, RequestRefused)
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
