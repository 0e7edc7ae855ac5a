"""What a campaign plays on: servers, the proxies in front of them, workers, the feeder."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from apache_kafka import ApacheKafka
from broker_proxy import BrokerProxy
from crew import Crew, Program, worker
from s3_proxy import S3Proxy
from watcher import Watcher

from faust_s3.local import SeaweedFS
from faust_s3.local.ports import free_ports

PARTITIONS = 6

#: The defaults, in seconds, are for larger payloads and longer ways: with them a connection that
#: went into a black hole is given up after a minute. And a server that shares two cores with
#: all the others answers so many at once no more: when 32 requests of each of three processes
#: timed out, they were tried again while it was still busy with the ones before, for ever.
LIMITS = {
    "FAUST_S3_CONNECT_TIMEOUT": "2",
    "FAUST_S3_READ_TIMEOUT": "6",
    "FAUST_S3_REQUEST_TIMEOUT": "12",
    "FAUST_S3_CONCURRENCY": "8",
}


@dataclass
class Servers:
    """Kafka and S3, each with a proxy in front, and a directory for all that runs."""

    kafka: ApacheKafka
    s3: SeaweedFS
    to_kafka: BrokerProxy
    to_s3: S3Proxy
    directory: Path

    def environ(self, *, far: bool) -> dict[str, str]:
        """Return variables that lead to the servers, through the proxies if ``far``."""
        broker = f"127.0.0.1:{self.to_kafka.listen}" if far else self.kafka.bootstrap
        return {
            **LIMITS,
            "AWS_ACCESS_KEY_ID": self.s3.keys.access_key,
            "AWS_SECRET_ACCESS_KEY": self.s3.keys.secret_key,
            "AWS_DEFAULT_REGION": self.s3.region,
            "FAUST_S3_URL": f"s3://{self.s3.bucket}/campaign",
            "FAUST_S3_ENDPOINT_URL": (self.to_s3 if far else self.s3).endpoint_url,
            "FAUST_S3_PATH_STYLE": "true",
            "KAFKA_BROKER": f"kafka://{broker}",
        }


@contextmanager
def servers(directory: Path) -> Iterator[Servers]:
    """Start both servers and both proxies."""
    port = free_ports(1)[0]
    with (
        SeaweedFS(directory=directory / "s3") as s3,
        ApacheKafka(directory=directory / "kafka", advertised=port) as kafka,
        S3Proxy(s3.endpoint_url) as to_s3,
        BrokerProxy("127.0.0.1", kafka.far_port, listen=port) as to_kafka,
    ):
        yield Servers(kafka, s3, to_kafka, to_s3, directory)


@dataclass
class Stage:
    """One app on the servers, at work.

    Attributes:
        notes: What is worth a look beside the figures.
        random: Of the campaign's seed.
    """

    servers: Servers
    crew: Crew
    feeder: Program
    watcher: Watcher
    random: Random
    notes: list[str] = field(default_factory=list)
    _never: threading.Event = field(default_factory=threading.Event)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._never.wait(seconds)

    def any_worker(self) -> Program:
        """Choose one."""
        return self.random.choice(self.crew.workers)


@contextmanager
def stage(
    on: Servers,
    name: str,
    app: str,
    *,
    workers: int,
    seed: int,
    rate: float,
    environ: Mapping[str, str],
) -> Iterator[Stage]:
    """Start the workers of an app, one of those in ``apps``, and a feeder."""
    records, results = f"{name}-records", f"{name}-results"
    for topic in (records, results):
        on.kafka.create_topic(topic, partitions=PARTITIONS)
    topics = {"APP_ID": name, "RECORDS": records, "RESULTS": results, **environ}
    directory = on.directory / name
    crew = Crew(
        [
            worker(
                f"worker-{number}",
                app,
                environ={**on.environ(far=True), **topics},
                directory=directory,
            )
            for number in range(workers)
        ]
    )
    feeder = Program(
        "feeder",
        *("-m", "feeder", app, str(seed), str(rate)),
        environ={**on.environ(far=False), **topics, "GUARANTEE": "at_least_once"},
        directory=directory,
    )
    watcher = Watcher(on.kafka.bootstrap, records, results, partitions=PARTITIONS)
    with watcher, crew:
        feeder.start()
        try:
            crew.wait_until_ready(90)
            yield Stage(on, crew, feeder, watcher, Random(seed))
        finally:
            feeder.kill()
