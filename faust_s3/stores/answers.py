"""What the answers of S3 servers, and of others that speak HTTP, call for."""

from __future__ import annotations

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

__all__ = ["ForeignAnswer", "kind_of_answer", "sentence"]


class ForeignAnswer(StoreUnavailable):
    """What answered is not the store.

    In front of a store that was there it is a proxy, say, with a page for people, and the store
    comes back. At the start of a worker it is a wrong endpoint.
    """


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
        (ObjectMissing, "NoSuchKey NotFound 404 BlobNotFound"),
        (BucketMissing, "NoSuchBucket ContainerNotFound"),
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

_SENTENCES: dict[type[S3Error], str] = {
    StoreUnavailable: "the store is not available",
    ForeignAnswer: "what answers is not the store",
    ObjectMissing: "there is no such object",
    BucketMissing: "there is no such bucket",
    AccessDenied: "access is denied",
    PayloadTooLarge: "the store does not take an object of this size",
    ConfigError: "the settings do not fit the store",
    RequestRefused: "the request is refused",
}


def kind_of_answer(code: str, status: int, *, on_object: bool) -> type[S3Error]:
    """Return the error that says what to do about an answer.

    Args:
        code: The store's own code; may be empty.
        status: Of HTTP; 0 if not known.
        on_object: Whether the request was about an object, and not about the bucket.
    """
    kind = _CODES.get(code)
    if kind is None and "Throttl" in code:
        return StoreUnavailable
    if kind is None:
        kind = StoreUnavailable if status >= 500 else _STATUSES.get(status, RequestRefused)
    return BucketMissing if kind is ObjectMissing and not on_object else kind


def sentence(kind: type[S3Error], said: str, location: Location) -> S3Error:
    """Return an error with what the store said, on one line.

    Args:
        kind: Of error.
        said: By the store; no secrets.
        location: What the request was about; an empty key stands for the bucket.
    """
    said = " ".join(said.split())[:400]  # however much HTML a proxy sent
    return kind(f"{_SENTENCES[kind]}: {said}", bucket=location.bucket, key=location.key or None)
