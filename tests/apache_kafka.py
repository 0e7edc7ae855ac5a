"""Apache Kafka itself, one KRaft node, with the interface of `faust_s3.local`'s brokers."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

from faust_s3.local import Broker, LocalStackError

__all__ = ["ApacheKafka", "available"]

_POM = Path(__file__).parent / "kafka" / "pom.xml"
_CACHE = Path(__file__).parents[1] / ".cache" / "kafka-jars"
_MAVEN_TIMEOUT = 600.0

#: 512 MB hold a few hundred partitions and 50 MB/s; without a fixed size Java takes up to a
#: quarter of the machine.
_JAVA = (
    "-Xms256m",
    "-Xmx512m",
    "-XX:+ExitOnOutOfMemoryError",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server=info",
)

#: The rest is Kafka's default. The three factors are what a single node can give; a
#: rebalance need not wait for more members; fewer internal partitions start faster. After
#: kill -9 the controller waits until the old session is over, by default 9 s.
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=BROKER://127.0.0.1:{broker},FAR://127.0.0.1:{far},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=BROKER://127.0.0.1:{broker},FAR://127.0.0.1:{advertised}
listener.security.protocol.map=BROKER:PLAINTEXT,FAR:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=10
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=10
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
"""


def available() -> str | None:
    """Say what is missing, or return None if Apache Kafka can be started."""
    if _java() is None:
        return "Apache Kafka needs Java 17, and there is no java"
    if not _has_kafka(_jars()) and shutil.which("mvn") is None:
        return "Apache Kafka's jars are fetched by Maven, and there is no mvn"
    return None


class ApacheKafka(Broker):
    """Broker and controller in one process; keeps its data across `kill`.

    Its jars are in ``$FAUST_S3_KAFKA_JARS``, by default in a directory per version of the
    pom under ``.cache``. Maven puts them there the first time.

    Args:
        directory: Where it keeps its data. None: a temporary one, removed by `stop`.
        advertised: The port that it tells clients to use which come in on `far_port`: that of
            a proxy in front of it. None: the same.
    """

    name = "apache-kafka"
    port_count = 3

    def __init__(
        self, *, directory: str | Path | None = None, advertised: int | None = None
    ) -> None:
        super().__init__(directory=directory)
        self.advertised = advertised

    @property
    def far_port(self) -> int:
        """Where a proxy leads."""
        return self.ports[2]

    def prepare(self) -> None:
        data = self.directory / "data"
        broker, controller, far = self.ports
        self._settings.write_text(
            _PROPERTIES.format(
                broker=broker,
                controller=controller,
                far=far,
                advertised=self.advertised or far,
                data=data,
            ),
            encoding="utf-8",
        )
        if not (data / "meta.properties").exists():
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
            self._run(
                "format the log directory",
                [
                    *(self.program(), *_JAVA, "-cp", f"{self._resolve()}/*"),
                    "kafka.tools.StorageTool",
                    "format",
                    f"--cluster-id={cluster}",
                    f"--config={self._settings}",
                ],
            )

    def program(self) -> str:
        if (problem := available()) is not None:
            raise LocalStackError(problem)
        return str(_java())

    def arguments(self) -> list[str]:
        return [*_JAVA, "-cp", f"{self._resolve()}/*", "kafka.Kafka", str(self._settings)]

    @property
    def _settings(self) -> Path:
        return self.directory / "server.properties"

    def _resolve(self) -> Path:
        """Return the directory with the jars; let Maven fill it if it is empty."""
        jars = _jars()
        if not _has_kafka(jars):
            jars.parent.mkdir(parents=True, exist_ok=True)
            # Renamed when complete, so that an interruption or a second run does no harm.
            with tempfile.TemporaryDirectory(dir=jars.parent) as partial:
                self._run(
                    "resolve the jars",
                    [
                        *("mvn", "-q", "-B", "-f", str(_POM)),
                        "dependency:copy-dependencies",
                        "-DincludeScope=runtime",
                        f"-DoutputDirectory={partial}/jars",
                    ],
                )
                try:
                    Path(partial, "jars").rename(jars)
                except OSError:
                    if not _has_kafka(jars):
                        raise
        return jars

    def _run(self, what: str, command: list[str]) -> None:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_MAVEN_TIMEOUT,
            check=False,
        )
        if done.returncode:
            log = done.stdout.decode(errors="replace")[-4096:]
            raise LocalStackError(f"cannot {what}:\n{log}")


def _jars() -> Path:
    if given := os.environ.get("FAUST_S3_KAFKA_JARS"):
        return Path(given).absolute()
    return _CACHE / hashlib.sha256(_POM.read_bytes()).hexdigest()[:16]


def _has_kafka(jars: Path) -> bool:
    return any(jars.glob("kafka_2.13-*.jar"))


def _java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
