"""URLs: where payloads may lie, and which server has them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from faust_s3.exceptions import ConfigError
from faust_s3.keys import check_path

__all__ = ["Prefix", "check_endpoint"]


@dataclass(frozen=True, slots=True)
class Prefix:
    """A bucket and the first part of the keys in it.

    Attributes:
        bucket: Bucket name; of a ``file:`` URL, the name of the directory.
        prefix: Segments without a slash at either end; empty for the whole bucket.
        scheme: Of the URL: ``s3``, ``gs``, ``az``, ``file`` or ``memory``.
        root: The directory that a ``file:`` bucket lies in.
    """

    bucket: str
    prefix: str = ""
    scheme: str = "s3"
    root: str = ""

    @classmethod
    def parse(cls, field: str, url: str) -> Prefix:
        """Read ``s3://bucket/prefix``, or ``file:///directory``.

        Raises:
            ConfigError: If it is something else.
        """
        if match := re.fullmatch(r"file://(/(?:[^/]+/)*)([^/]+)/?", url):
            root, bucket, path, scheme = match[1], match[2], "", "file"
        elif match := re.fullmatch(r"(s3|gs|az|memory)://([^/]{1,255})(?:/(.*))?", url):
            root, bucket, path, scheme = "", match[2], (match[3] or "").rstrip("/"), match[1]
        else:
            raise ConfigError(f"{field} {url!r} must be like s3://bucket/prefix")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", bucket):
            raise ConfigError(
                f"{field} {url!r} names the bucket {bucket!r}; bucket names have letters, "
                "digits, '.', '-' and '_' and start with a letter or digit"
            )
        if path:
            check_path(f"{field} {url!r} has the prefix {path!r}, which", path)
        return cls(bucket, path, scheme, root)

    def holds(self, bucket: str, key: str) -> bool:
        """Tell whether an object lies here, whole segments compared."""
        return bucket == self.bucket and (not self.prefix or key.startswith(f"{self.prefix}/"))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.root}{self.bucket}/{self.prefix}".rstrip("/")


def check_endpoint(field: str, url: str) -> None:
    """Refuse what is no URL of a server, or tells more than where that is.

    Raises:
        ConfigError: Without the credentials, if there are any.
    """
    if "@" in url:
        raise ConfigError(f"{field} must have no credentials: they come from boto3's own chain")
    try:
        parts = urlsplit(url)
        is_server = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, or a port that is none
        is_server = False
    if not is_server or re.search(r"\s", url):
        raise ConfigError(f"{field} {url!r} must be like https://host:port")
