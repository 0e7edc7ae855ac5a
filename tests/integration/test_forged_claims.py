"""Claims that nobody of ours wrote, on a real topic: what becomes of them, who is asked."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from workers import Worker, committed, produce

from faust_s3.claim import MAGIC, Claim, Inline

PAYLOAD = b"photo" * 1000
SECRET = b"their" * 1000
CAP = 2**20


class Requests(ThreadingHTTPServer):
    """Passes requests on to an S3 server, and remembers for which objects they were.

    Attributes:
        asked: Method and path, decoded once, without the query.
        url: Where it listens.
    """

    daemon_threads = False
    block_on_close = True

    def __init__(self, endpoint_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.server = urlsplit(endpoint_url)
        self.asked: list[tuple[str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Forward(BaseHTTPRequestHandler):
    server: Requests

    def do_GET(self) -> None:
        self.server.asked.append((self.command, unquote(self.path.partition("?")[0])))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = self.server.server
        connection = http.client.HTTPConnection(str(server.hostname), server.port or 80)
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the worker's log is what is looked at."""


@pytest.fixture
def requests(stack: Any) -> Iterator[Requests]:
    with Requests(stack.endpoint_url) as server:
        thread = Thread(target=server.serve_forever, name="requests")
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Forger:
    """Writes claims on objects of the stack, ours and others."""

    def __init__(self, stack: Any, environ: dict[str, str], client: Any, theirs: str) -> None:
        self.client = client
        self.bucket = stack.bucket
        self.prefix = environ["FAUST_S3_URL"].rpartition("/")[2]
        self.theirs = theirs

    def claim(self, key: str, *, bucket: str | None = None, stored: bytes = PAYLOAD) -> Claim:
        """Store something, and return the claim that an honest sender would write."""
        claim = Claim(bucket or self.bucket, key, len(stored), len(stored), sha256(stored).digest())
        self.client.put_object(Bucket=claim.bucket, Key=key, Body=stored)
        return claim

    def foreign(self) -> dict[str, Claim]:
        """Claims on what lies elsewhere. It is there, so that only we can refuse it."""
        prefix = self.prefix
        secret = self.claim("secret", stored=SECRET)
        return {
            "another bucket": self.claim(f"{prefix}/x", bucket=self.theirs, stored=SECRET),
            "no prefix": secret,
            "a prefix that ours begins": self.claim(f"{prefix}-evil/x", stored=SECRET),
            "a prefix that ends like ours": self.claim(f"evil/{prefix}/x", stored=SECRET),
            "out of ours": replace(secret, key=f"{prefix}/../secret"),
            "out of ours and back": replace(secret, key=f"{prefix}/../{prefix}/x"),
            "nowhere": replace(secret, key=f"{prefix}/./x"),
            "encoded out of ours": replace(secret, key=f"{prefix}%2f..%2fsecret"),
            "ours encoded": replace(secret, key=f"%{ord(prefix[0]):02x}{prefix[1:]}/x"),
            "the whole bucket": replace(secret, key="/"),
            "a slash before ours": replace(secret, key=f"/{prefix}/x"),
            "a backslash": replace(secret, key=f"{prefix}\\..\\secret"),
        }

    def malformed(self) -> dict[str, bytes]:
        """Bytes that begin like an envelope."""
        good = Claim(self.bucket, f"{self.prefix}/x", 5, 5, bytes(32)).dumps()
        header, rest = good[:8], good[10:]
        inline = Inline(5, b"photo").dumps()
        return {
            "the magic": MAGIC,
            "cut": good[:-1],
            "longer": good + b"\0",
            "sizes that differ": header + b"\x05\x06" + rest,
            "a number without end": header + b"\xff" * 40 + rest,
            "a number of 64 bits": header + b"\xff" * 9 + b"\x01" + b"\x05" + rest,
            "a length past the end": good[:42] + b"\xff\x7f" + good[43:],
            "inline, more than there is": inline.replace(b"\x05photo", b"\x06photo"),
            "inline, less than there is": inline.replace(b"\x05photo", b"\x04photo"),
            "inline, 2**62 bytes": inline.replace(b"\x05photo", b"\x80" * 8 + b"\x40photo"),
            "another version": good[:4] + b"\x02" + good[5:],
        }

    def oversize(self) -> dict[str, Claim]:
        """Claims for more than is allowed."""
        small = self.claim(f"{self.prefix}/small")
        return {
            f"{size} bytes": replace(small, payload_size=size, stored_size=size)
            for size in (CAP + 1, 2**40, 2**63 - 1)
        }

    def lying(self) -> dict[str, Claim]:
        """Claims on objects of ours that are not what they say. These are asked for."""
        honest = self.claim(f"{self.prefix}/other")
        size = len(PAYLOAD)
        return {
            "another digest": replace(honest, sha256=bytes(32)),
            "more bytes than there are": replace(
                honest, payload_size=size + 1, stored_size=size + 1
            ),
            "fewer bytes than there are": replace(
                honest, payload_size=size - 1, stored_size=size - 1
            ),
            "no bytes": replace(honest, payload_size=0, stored_size=0),
            # Encoded once more on their way, they are names like any other, of no object.
            "encoded dots": replace(honest, key=f"{self.prefix}/%2e%2e/secret"),
            "a slash that is encoded": replace(honest, key=f"{self.prefix}/..%2fsecret"),
        }


@pytest.fixture
def forger(stack: Any, environ: dict[str, str], client: Any, bucket: str) -> Forger:
    stack.create_topic(environ["RECORDS"], partitions=1)
    return Forger(stack, environ, client, bucket)


SAYS = {
    "foreign": "the claim names a place outside",
    "malformed": "envelope|a number|the claim",
    "oversize": f"the claim is for more than max_payload={CAP} bytes",
    "lying": "the object|there is no such object",
}


def test_forged_claims_are_refused(
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
    requests: Requests,
    forger: Forger,
) -> None:
    """Each kind is refused in its sentence; the foreign ones and the like without a request."""
    honest = forger.claim(f"{forger.prefix}/honest")
    records: list[tuple[str, str, bytes]] = []
    for kind in SAYS:
        for name, forged in getattr(forger, kind)().items():
            records.append((kind, name, forged if isinstance(forged, bytes) else forged.dumps()))
    values = [value for _, _, value in records] + [honest.dumps()]
    produce(stack.bootstrap, environ["RECORDS"], *((None, value) for value in values))

    worker = start_worker(
        "forged_app",
        FAUST_S3_ENDPOINT_URL=requests.url,
        FAUST_S3_CHECK_ON_START="no",
        FAUST_S3_ON_BAD_CLAIM="skip",
        FAUST_S3_MAX_PAYLOAD=str(CAP),
        FAUST_S3_THRESHOLD="1KiB",
    )
    worker.wait_for(f"read {len(records)} of {len(PAYLOAD)} bytes")
    assert worker.stop() == 0
    assert worker.output.count("read ") == 1, "and nothing else reached the agent"
    for offset, (kind, name, _) in enumerate(records):
        line = f"skipped a record .*({SAYS[kind]}).*[( ]offset={offset}[,)]"
        assert re.search(line, worker.output), f"{kind}: {name}\n{worker.output}"
    assert committed(stack.bootstrap, environ["APP_ID"], environ["RECORDS"]) == len(values)
    ours = f"/{forger.bucket}/{forger.prefix}"
    assert {path for method, path in requests.asked if method == "GET"} == {
        f"{ours}/honest", f"{ours}/other", f"{ours}/%2e%2e/secret", f"{ours}/..%2fsecret",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["another bucket", "out of ours"])
def test_a_foreign_claim_ends_the_worker_unasked(
    stack: Any,
    environ: dict[str, str],
    start_worker: Callable[..., Worker],
    requests: Requests,
    forger: Forger,
    kind: str,
) -> None:
    """By default a forged claim stops the worker: uncommitted, and nobody was asked for it."""
    produce(stack.bootstrap, environ["RECORDS"], (None, forger.foreign()[kind].dumps()))
    unasked = {"FAUST_S3_ENDPOINT_URL": requests.url, "FAUST_S3_CHECK_ON_START": "no"}
    worker = start_worker("forged_app", **unasked)
    assert worker.wait(90) != 0
    assert "ClaimError: the claim names a place outside" in worker.output
    assert not committed(stack.bootstrap, environ["APP_ID"], environ["RECORDS"])
    assert not [path for method, path in requests.asked if method == "GET"]
