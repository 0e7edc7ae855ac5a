"""Servers that run already: they look like ours, but are neither started nor stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from faust_s3.local.kafka import create_topic
from faust_s3.local.process import LocalStackError
from faust_s3.local.seaweedfs import Keys

__all__ = ["RunningBroker", "RunningS3"]


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """A broker, or a cluster of them.

    Attributes:
        url: ``kafka://host:port``; more of them are separated by ``;``, as in Faust.
    """

    url: str
    running: ClassVar[bool] = True

    @property
    def bootstrap(self) -> str:
        """Host and port, as Kafka clients want them; more are separated by commas."""
        return ",".join(part.rpartition("://")[2] for part in self.url.split(";"))

    def create_topic(
        self, name: str, *, partitions: int = 1, config: Mapping[str, str] | None = None
    ) -> None:
        """Create a topic and wait for it; see `LocalStack.create_topic`."""
        create_topic(self.bootstrap, name, partitions=partitions, config=config)


@dataclass(frozen=True, slots=True)
class RunningS3:
    """An S3 server, and a bucket that is there.

    Attributes:
        endpoint_url: Where S3 clients connect to.
        bucket: The bucket.
        keys: An identity that may do everything in it.
        region: The bucket's region.
        session_token: What temporary keys need in addition.
    """

    endpoint_url: str
    bucket: str
    keys: Keys
    region: str = "us-east-1"
    session_token: str | None = None
    running: ClassVar[bool] = True

    @classmethod
    def from_environ(cls, endpoint_url: str, bucket: str, environ: Mapping[str, str]) -> RunningS3:
        """Take keys, region and bucket from variables; see `LocalStack`."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            if name not in environ:
                raise LocalStackError(f"FAUST_S3_LOCAL_ENDPOINT_URL is set, but {name} is not")
        return cls(
            endpoint_url=endpoint_url,
            bucket=environ.get("FAUST_S3_LOCAL_BUCKET", bucket),
            keys=Keys(environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"]),
            region=environ.get("AWS_DEFAULT_REGION", "us-east-1"),
            session_token=environ.get("AWS_SESSION_TOKEN"),
        )

    @property
    def reader_keys(self) -> Keys:
        """Not known here."""
        raise LocalStackError(f"there is no second identity for {self.endpoint_url}")

    def create_bucket(self, name: str) -> None:
        """Not done here: the tools of whoever runs the server do it better."""
        if name != self.bucket:
            raise LocalStackError(f"make the bucket {name!r} at {self.endpoint_url} yourself")
