"""What boto3 and the layers below it raise, and what it means."""

from __future__ import annotations

import http.client
import inspect
import socket

import pytest
import urllib3.exceptions
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

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
from faust_s3.stores import Location
from faust_s3.stores.answers import ForeignAnswer
from faust_s3.stores.s3 import translate
from faust_s3.stores.s3.errors import require

PLACE = Location("bucket", "key")


def refused(
    code: str, status: int, operation: str = "GetObject", **headers: str
) -> boto.ClientError:
    meta = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    error = {"Code": code, "Message": "as\n told", "AWSAccessKeyId": "key-id"}
    return boto.ClientError({"Error": error, "ResponseMetadata": meta}, operation)


ANSWERS: list[tuple[str, int, type[S3Error]]] = [
    ("SlowDown", 503, StoreUnavailable),
    ("ServiceUnavailable", 503, StoreUnavailable),
    ("InternalError", 500, StoreUnavailable),
    ("InternalError", 200, StoreUnavailable),  # CompleteMultipartUpload may say so
    ("RequestTimeout", 400, StoreUnavailable),
    ("RequestLimitExceeded", 400, StoreUnavailable),
    ("BandwidthLimitExceeded", 509, StoreUnavailable),
    ("Throttling", 400, StoreUnavailable),
    ("ThrottlingException", 400, StoreUnavailable),
    ("KMS.ThrottlingException", 400, StoreUnavailable),
    ("RequestThrottled", 400, StoreUnavailable),
    ("TooManyRequests", 429, StoreUnavailable),
    ("Unheard", 429, StoreUnavailable),
    ("Unheard", 500, StoreUnavailable),
    ("502", 502, StoreUnavailable),
    ("504", 504, StoreUnavailable),
    ("XMinioStorageFull", 507, StoreUnavailable),
    ("ExpiredToken", 400, StoreUnavailable),
    ("ExpiredTokenException", 400, StoreUnavailable),
    ("TokenRefreshRequired", 400, StoreUnavailable),
    ("RequestTimeTooSkewed", 403, StoreUnavailable),
    ("RequestExpired", 403, StoreUnavailable),
    ("OperationAborted", 409, StoreUnavailable),
    ("ConditionalRequestConflict", 409, StoreUnavailable),
    ("BadDigest", 400, StoreUnavailable),
    ("InvalidDigest", 400, StoreUnavailable),
    ("IncompleteBody", 400, StoreUnavailable),
    ("XAmzContentSHA256Mismatch", 400, StoreUnavailable),
    ("PreconditionFailed", 412, StoreUnavailable),
    ("412", 412, StoreUnavailable),
    ("InvalidRange", 416, StoreUnavailable),
    ("NoSuchUpload", 404, StoreUnavailable),
    ("TemporaryRedirect", 307, StoreUnavailable),
    ("NoSuchKey", 404, ObjectMissing),
    ("404", 404, ObjectMissing),
    ("NoSuchBucket", 404, BucketMissing),
    ("AccessDenied", 403, AccessDenied),
    ("403", 403, AccessDenied),
    ("401", 401, AccessDenied),
    ("AllAccessDisabled", 403, AccessDenied),
    ("AccountProblem", 403, AccessDenied),
    ("InvalidAccessKeyId", 403, AccessDenied),
    ("SignatureDoesNotMatch", 403, AccessDenied),
    ("InvalidToken", 400, AccessDenied),
    ("InvalidClientTokenId", 403, AccessDenied),
    ("Unheard", 403, AccessDenied),
    ("EntityTooLarge", 400, PayloadTooLarge),
    ("413", 413, PayloadTooLarge),
    ("PermanentRedirect", 301, ConfigError),
    ("301", 301, ConfigError),
    ("AuthorizationHeaderMalformed", 400, ConfigError),
    ("InvalidBucketName", 400, ConfigError),
    ("IllegalLocationConstraintException", 400, ConfigError),
    ("InvalidObjectState", 403, RequestRefused),
    ("NotImplemented", 501, RequestRefused),
    ("EntityTooSmall", 400, RequestRefused),
    ("KeyTooLongError", 400, RequestRefused),
    ("InvalidArgument", 400, RequestRefused),
    ("MethodNotAllowed", 405, RequestRefused),
    ("KMS.DisabledException", 400, RequestRefused),
    ("NoSuchVersion", 404, RequestRefused),
    ("Unheard", 418, RequestRefused),
    ("", 0, RequestRefused),
]


@pytest.mark.parametrize(("code", "status", "kind"), ANSWERS)
def test_answers(code: str, status: int, kind: type[S3Error]) -> None:
    """Code, or else status, decides; the error says what was tried and what was answered."""
    error = translate(refused(code, status), PLACE)
    assert type(error) is kind
    assert (error.bucket, error.key) == PLACE
    assert "GetObject" in error.reason
    assert code in error.reason
    assert "as told" in error.reason
    assert "key-id" not in str(error)


@pytest.mark.parametrize("code", ["404", "NotFound", "NoSuchBucket"])
def test_listing_has_no_object(code: str) -> None:
    """What is missing for a listing is the bucket, and its error has no key."""
    error = translate(refused(code, 404, "ListObjectsV2"), Location("bucket", ""))
    assert type(error) is BucketMissing
    assert (error.bucket, error.key) == PLACE._replace(key=None)  # type: ignore[arg-type]


def test_region_is_named() -> None:
    """Whoever asks in the wrong region is told the right one."""
    exc = refused("PermanentRedirect", 301, **{"x-amz-bucket-region": "eu-west-3"})
    assert "the bucket is in region eu-west-3" in str(translate(exc, PLACE))
    exc = refused("AuthorizationHeaderMalformed", 400)
    exc.response["Error"]["Region"] = "eu-west-3"
    assert "the bucket is in region eu-west-3" in str(translate(exc, PLACE))


def test_denial_may_be_a_missing_object() -> None:
    """S3 denies what is not there to those who may not list; only reads can mean that."""
    hint = "or no such object"
    assert hint in str(translate(refused("AccessDenied", 403, "GetObject"), PLACE))
    assert hint not in str(translate(refused("AccessDenied", 403, "PutObject"), PLACE))
    assert hint not in str(translate(refused("SignatureDoesNotMatch", 403), PLACE))


def test_long_messages_are_cut() -> None:
    """A proxy's page does not fill the log."""
    exc = refused("502", 502)
    exc.response["Error"]["Message"] = "<br>\n" * 10_000
    assert len(str(translate(exc, PLACE))) < 600
    assert "\n" not in str(translate(exc, PLACE))


def made(kind: type[Exception]) -> Exception:
    """Make one of botocore's errors, which format their messages from keywords."""
    if kind in (boto.ClientError, boto.EventStreamError):
        return kind({"Error": {"Code": "SlowDown"}}, "GetObject")
    if kind is boto.WaiterError:
        return kind("something", "something", {})
    if "msg" in inspect.signature(kind.__init__).parameters:
        return kind("something")
    names = [part.split("}")[0].split("!")[0] for part in kind.fmt.split("{")[1:]]  # type: ignore[attr-defined]
    return kind(**dict.fromkeys(names, "something"))


BOTO = [
    kind
    for _, kind in inspect.getmembers(boto, inspect.isclass)
    if issubclass(kind, boto.BotoCoreError | boto.ClientError) and kind.__module__ == boto.__name__
]

EXPECTED: dict[str, type[S3Error]] = {
    **dict.fromkeys(
        (
            *("HTTPClientError", "ConnectionError", "EndpointConnectionError", "SSLError"),
            *("ConnectionClosedError", "ReadTimeoutError", "ConnectTimeoutError"),
            *("ProxyConnectionError", "ResponseStreamingError", "IncompleteReadError"),
            *("CredentialRetrievalError", "MetadataRetrievalError", "TokenRetrievalError"),
            *("FlexibleChecksumError", "ClientError", "EventStreamError"),
        ),
        StoreUnavailable,
    ),
    **dict.fromkeys(
        (
            *("NoCredentialsError", "PartialCredentialsError", "NoAuthTokenError"),
            *("SSOError", "SSOTokenLoadError", "UnauthorizedSSOTokenError"),
            *("LoginError", "LoginRefreshRequired", "LoginInsufficientPermissions"),
            *("LoginTokenLoadError", "LoginAuthorizationCodeError"),
            "RefreshWithMFAUnsupportedError",
        ),
        AccessDenied,
    ),
    "ParamValidationError": RequestRefused,
}


@pytest.mark.parametrize("kind", BOTO, ids=lambda kind: kind.__name__)
def test_botocore(kind: type[Exception]) -> None:
    """Every class is mapped; what is not of the network or of access is a setting."""
    expected = EXPECTED.get(kind.__name__, ConfigError)
    if issubclass(kind, boto.ConnectionError | boto.HTTPClientError):
        expected = StoreUnavailable
    error = translate(made(kind), PLACE)
    assert type(error) is expected
    assert (error.bucket, error.key) == PLACE
    assert error.reason


@pytest.mark.parametrize(
    "exc",
    [
        urllib3.exceptions.ProtocolError("connection broken"),
        urllib3.exceptions.ReadTimeoutError(None, "/", "too slow"),  # type: ignore[arg-type]
        urllib3.exceptions.IncompleteRead(1, 2),
        urllib3.exceptions.SSLError("EOF"),
        http.client.IncompleteRead(b""),
        http.client.BadStatusLine("?"),
        ConnectionResetError("reset"),
        BrokenPipeError("pipe"),
        TimeoutError("slow"),
        socket.gaierror("no name"),
        OSError("no route"),
        RuntimeError("Credentials were refreshed, but the refreshed credentials are expired."),
    ],
    ids=lambda exc: type(exc).__qualname__,
)
def test_layers_below(exc: Exception) -> None:
    """What leaks from streaming bodies and sockets passes."""
    error = translate(exc, PLACE)
    assert type(error) is StoreUnavailable
    assert type(exc).__name__ in str(error)


@pytest.mark.parametrize(
    "exc", [ResponseParserError("not XML"), RecursionError("redirected once more")]
)
def test_what_is_not_from_the_store(exc: Exception) -> None:
    """It passes while a worker runs, and a worker that starts tells it from an outage."""
    error = translate(exc, PLACE)
    assert type(error) is ForeignAnswer
    assert isinstance(error, StoreUnavailable)
    assert str(exc) in str(error)


def test_what_an_answer_has_to_have() -> None:
    """What is missing is named."""
    require({"ETag": "", "ContentLength": 0}, PLACE, "ContentLength", "ETag")
    with pytest.raises(ForeignAnswer, match="an answer without ContentLength and ETag"):
        require({}, PLACE, "ContentLength", "ETag")


def test_own_error_in_a_body_stays() -> None:
    """A deadline that passes while a body is sent comes back out of botocore's wrapping."""
    inner = StoreUnavailable("too late", bucket="bucket", key="key")
    error = translate(boto.HTTPClientError(error=inner), PLACE)
    assert type(error) is StoreUnavailable
    assert "too late" in str(error)


def test_foreign_errors_stay() -> None:
    """A mistake of ours is not taken for the store's."""
    with pytest.raises(KeyError):
        translate(KeyError("mistake"), PLACE)
