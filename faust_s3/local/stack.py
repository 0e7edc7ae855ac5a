"""A broker and an S3 server side by side, ours or somebody else's."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from faust_s3.local.brokers import Broker, NoidaBroker, TansuBroker
from faust_s3.local.process import LocalStackError, Server
from faust_s3.local.running import RunningBroker, RunningS3
from faust_s3.local.seaweedfs import Keys, SeaweedFS

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["BROKERS", "DEFAULT_BUCKET", "LocalStack", "s3_from_environ"]

BROKERS: Final[Mapping[str, type[Broker]]] = {"noida": NoidaBroker, "tansu": TansuBroker}
DEFAULT_BUCKET: Final = "faust-s3"


class LocalStack:
    """A Kafka broker and an S3 server on free ports of 127.0.0.1.

    Two variables point it at servers that run already, which it leaves alone:

    ``FAUST_S3_LOCAL_BROKER``
        A broker's URL, ``kafka://host:port``.
    ``FAUST_S3_LOCAL_ENDPOINT_URL``
        An S3 endpoint. The keys come from ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``
        and, if set, ``AWS_SESSION_TOKEN``, the region from ``AWS_DEFAULT_REGION``, and the
        bucket, which has to be there, from ``FAUST_S3_LOCAL_BUCKET`` if set.

    Args:
        broker: ``"noida"``, ``"tansu"``, or a server of yours. The variable does not
            replace the latter.
        bucket: A bucket that is there after the start.
        s3: An S3 server of yours, instead of a new one with ``bucket``.
        directory: Where both keep their data. None: temporary ones, removed by `stop`.

    Raises:
        LocalStackError: If the environment names an S3 endpoint, but no keys; or if ``bucket`` is
            no name of a bucket.

    Example:
        >>> with LocalStack() as stack:
        ...     stack.create_topic("documents", partitions=4)
        ...     print(stack.broker, stack.url, stack.endpoint_url)
    """

    def __init__(
        self,
        *,
        broker: str | Broker | RunningBroker = "noida",
        bucket: str = DEFAULT_BUCKET,
        s3: SeaweedFS | RunningS3 | None = None,
        directory: str | Path | None = None,
    ) -> None:
        below = Path(directory) if directory is not None else None
        self.broker_server = _choose_broker(broker, below) if isinstance(broker, str) else broker
        self.s3_server = s3 if s3 is not None else _choose_s3(bucket, below)
        self._started: ExitStack | None = None

    def start(self) -> Self:
        """Start both servers and return when they work. Does nothing if they run.

        Raises:
            LocalStackError: If one of them is not installed or does not start; the other is
                stopped again.
        """
        if self._started is None:
            starting = [
                server
                for server in (self.s3_server, self.broker_server)
                if isinstance(server, Server) and not server.running
            ]
            for server in starting:
                server.program()  # nothing starts if one of them is not installed
            with ExitStack() as started:
                for server in starting:
                    started.enter_context(server)
                self._started = started.pop_all()
        return self

    def stop(self) -> None:
        """Stop what `start` has started. Does nothing twice."""
        if self._started is not None:
            self._started.close()
            self._started = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether both servers are there."""
        return self.s3_server.running and self.broker_server.running

    @property
    def broker(self) -> str:
        """The broker's URL, for ``faust.App(broker=...)``."""
        return self.broker_server.url

    @property
    def bootstrap(self) -> str:
        """The broker's address, for other Kafka clients."""
        return self.broker_server.bootstrap

    @property
    def endpoint_url(self) -> str:
        """The S3 endpoint; it wants buckets in the path."""
        return self.s3_server.endpoint_url

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.s3_server.bucket

    @property
    def url(self) -> str:
        """The bucket as ``S3(app, url)`` wants it."""
        return f"s3://{self.bucket}"

    @property
    def region(self) -> str:
        """The S3 server's region."""
        return self.s3_server.region

    @property
    def access_key(self) -> str:
        """The access key id of the identity that may do everything."""
        return self.s3_server.keys.access_key

    @property
    def secret_key(self) -> str:
        """The secret access key that belongs to it."""
        return self.s3_server.keys.secret_key

    @property
    def reader_keys(self) -> Keys:
        """An identity that may read and list, but not write.

        Raises:
            LocalStackError: If the S3 server is not ours.
        """
        return self.s3_server.reader_keys

    @property
    def environ(self) -> dict[str, str]:
        """Variables that point boto3, `faust_s3.S3` and an application at the servers."""
        token = self.s3_server.session_token
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            **({"AWS_SESSION_TOKEN": token} if token else {}),
            "AWS_DEFAULT_REGION": self.region,
            "FAUST_S3_ENDPOINT_URL": self.endpoint_url,
            "FAUST_S3_PATH_STYLE": "true",
            "FAUST_S3_URL": self.url,
            "KAFKA_BROKER": self.broker,
        }

    def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None
    ) -> None:
        """Create a topic and return when all its partitions have a leader.

        A topic that is there already stays as it is. May be called where an event loop
        runs, which it blocks.

        Args:
            name: The topic's name.
            partitions: Its number of partitions.
            config: Its settings, such as ``{"cleanup.policy": "compact"}``.

        Raises:
            LocalStackError: If the broker refuses, or the topic does not show up in 30 s.
        """
        self.broker_server.create_topic(name, partitions=partitions, config=config)

    def create_bucket(self, name: str) -> None:
        """Create a bucket; one that is there already stays as it is.

        Raises:
            LocalStackError: If the server refuses the name, or is not ours.
        """
        self.s3_server.create_bucket(name)


_BROKER = re.compile(r"(?:kafka|aiokafka)://[^/:;,@\s]+:\d{1,5}")


def _choose_broker(name: str, below: Path | None) -> Broker | RunningBroker:
    if name not in BROKERS:
        raise LocalStackError(f"broker={name!r} is not one of {', '.join(BROKERS)}")
    if url := os.environ.get("FAUST_S3_LOCAL_BROKER"):
        if not all(_BROKER.fullmatch(part) for part in url.split(";")):
            raise LocalStackError(
                f"FAUST_S3_LOCAL_BROKER={url!r} must be like kafka://host:9092, or several of that "
                "with ';' between them"
            )
        return RunningBroker(url)
    return BROKERS[name](directory=below and below / name)


def _choose_s3(bucket: str, below: Path | None) -> SeaweedFS | RunningS3:
    return s3_from_environ(bucket) or SeaweedFS(
        bucket=bucket, directory=below and below / "seaweedfs"
    )


def s3_from_environ(bucket: str = DEFAULT_BUCKET) -> RunningS3 | None:
    """Return the S3 server that the environment names, if any; see `LocalStack`."""
    url = os.environ.get("FAUST_S3_LOCAL_ENDPOINT_URL")
    return RunningS3.from_environ(url, bucket, os.environ) if url else None
