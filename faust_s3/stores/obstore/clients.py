"""From settings to clients of obstore, one for each bucket."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import obstore.store as native

from faust_s3.exceptions import BucketMissing, ConfigError

__all__ = ["SCHEMES", "Settings", "client_maker"]

SCHEMES = ("s3", "gs", "az", "file", "memory")

#: botocore renews credentials that end within 10 minutes before it hands them out, and
#: obstore keeps what it gets for as long as this (``botocore/credentials.py``, 1.44).
_CREDENTIALS_TTL = timedelta(minutes=5)

Settings = dict[str, Any]

#: What only S3 has, or what a kind of store cannot be told.
_NOT_FOR: dict[str, tuple[str, ...]] = {
    "s3": (),
    "az": ("session", "region", "profile", "path_style", "sse", "sse_kms_key_id"),
}
_NOT_FOR["gs"] = _NOT_FOR["file"] = _NOT_FOR["memory"] = (*_NOT_FOR["az"], "endpoint_url")


def client_maker(
    scheme: str, settings: Settings, *, root: str, buckets: Collection[str]
) -> Callable[[str], Any]:
    """Return what makes the client of a bucket; it may block.

    Args:
        scheme: Kind of store.
        settings: Those of :class:`ObstoreStore`.
        root: Directory that holds the buckets, of ``file``.
        buckets: Those that there are, of ``memory``.

    Raises:
        ConfigError: If a setting is not for this kind of store.
    """
    if scheme not in SCHEMES:
        raise ConfigError(f"scheme {scheme!r} must be one of {', '.join(SCHEMES)}")
    for name in _NOT_FOR[scheme]:
        if settings[name]:
            raise ConfigError(f"{name} {settings[name]!r} cannot be set for {scheme}://")
    if scheme == "memory":
        kept = {bucket: native.MemoryStore() for bucket in buckets}
        return lambda bucket: _existing(kept.get(bucket), bucket)
    if scheme == "file":
        return lambda bucket: _directory(root, bucket)
    options = {
        "connect_timeout": timedelta(seconds=settings["connect_timeout"]),
        "read_timeout": timedelta(seconds=settings["read_timeout"]),
        "timeout": timedelta(seconds=settings["request_timeout"]),
        "pool_max_idle_per_host": str(settings["concurrency"]),
        # Google's has its endpoint from its own variables, and nothing but HTTPS by default.
        "allow_http": scheme == "gs" or (settings["endpoint_url"] or "").startswith("http://"),
    }
    more = {
        "client_options": options,
        # The pipeline tries again, and counts; nobody else does.
        "retry_config": {"max_retries": 0, "retry_timeout": timedelta(0)},
    }
    if scheme == "gs":
        return lambda bucket: native.GCSStore(bucket, **more)
    if scheme == "az":
        endpoint = settings["endpoint_url"]
        config = {"endpoint": endpoint} if endpoint else {}
        return lambda bucket: native.AzureStore(bucket, config=config, **more)
    return lambda bucket: _s3(bucket, settings, more)


def _existing(client: Any, bucket: str) -> Any:
    if client is None:
        raise BucketMissing("there is no such bucket", bucket=bucket)
    return client


def _directory(root: str, bucket: str) -> Any:
    path = os.path.join(root, bucket)
    return _existing(native.LocalStore(path) if os.path.isdir(path) else None, bucket)


def _s3(bucket: str, settings: Settings, more: Settings) -> Any:
    # boto3 stays behind stores.s3, and is imported when the first request needs credentials.
    from faust_s3.stores.s3.session import open_session, provider

    session = open_session(settings["session"], settings["profile"], bucket)
    config = {
        "region": settings["region"] or session.region_name or "us-east-1",
        "virtual_hosted_style_request": not settings["path_style"],
        "server_side_encryption": settings["sse"],
        "sse_kms_key_id": settings["sse_kms_key_id"],
        "disable_bulk_delete": True,
        **_endpoint(bucket, settings["endpoint_url"], path_style=settings["path_style"]),
    }
    return native.S3Store(
        bucket,
        config={name: value for name, value in config.items() if value is not None},
        credential_provider=provider(session, bucket, ttl=_CREDENTIALS_TTL),
        **more,
    )


def _endpoint(bucket: str, url: str | None, *, path_style: bool) -> Settings:
    """Return where the requests for a bucket go, as boto3 decides it."""
    if path_style or url is None:
        # A dot in a bucket's name does not go with certificates for *.s3.amazonaws.com.
        style = {"virtual_hosted_style_request": False} if "." in bucket else {}
        return style if url is None else {"endpoint": url}
    parts = urlsplit(url)
    host = parts.hostname or ""
    if "." in bucket or host == "localhost" or _is_address(host):
        return {"endpoint": url, "virtual_hosted_style_request": False}
    return {"endpoint": parts._replace(netloc=f"{bucket}.{parts.netloc}").geturl()}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
