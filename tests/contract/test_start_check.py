"""What the start check tells of a real server, with identities that may do this and that."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from clients import s3_client
from faults import Behaviour, FaultServer, answering, done, page, redirect, refuse

from faust_s3 import Config, ConfigError
from faust_s3.local import SeaweedFS
from faust_s3.startup import Needs, check_store
from faust_s3.stores.obstore import ObstoreStore
from faust_s3.stores.s3 import S3Store

# They look at the server with a blocking client.
pytestmark = pytest.mark.may_block

MakeStore = Callable[..., S3Store]

READS = Needs(reads=True, writes=False)
WRITES = Needs(reads=False, writes=True)

#: What an identity may do, as SeaweedFS calls it, and what it may be used for.
ALLOWED = {
    "everybody": ["Read", "Write", "List"],
    "reader": ["Read", "List"],
    "writer": ["Write"],
    "nobody": ["Tagging"],
}


class Guarded(SeaweedFS):
    """With an identity for each row above; its secret is its name, twice."""

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = super()._config()
        config["identities"] += [
            {
                "name": name,
                "credentials": [{"accessKey": f"key-of-{name}", "secretKey": name * 2}],
                "actions": actions,
            }
            for name, actions in ALLOWED.items()
        ]
        return config


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with Guarded() as server:
        yield server


@pytest.fixture
def check(guarded: Guarded, make_store: MakeStore) -> Callable[..., Any]:
    """Check as somebody, below a prefix of the test's own."""

    async def run(name: str, needs: Needs, *, url: str, secret: str | None = None) -> None:
        session = boto3.Session(f"key-of-{name}", secret or name * 2, region_name=guarded.region)
        store = make_store(session=session, endpoint_url=guarded.endpoint_url)
        await check_store(store, Config(url=url, endpoint_url=guarded.endpoint_url), needs)

    return run


def left_behind(server: SeaweedFS, prefix: str) -> list[Any]:
    """Return objects, and uploads that nobody ended, below a prefix."""
    with s3_client(server) as client:
        objects = client.list_objects_v2(Bucket=server.bucket, Prefix=prefix)
        uploads = client.list_multipart_uploads(Bucket=server.bucket, Prefix=prefix)
    return [*objects.get("Contents", ()), *uploads.get("Uploads", ())]


@pytest.mark.parametrize(
    ("name", "needs"), [("everybody", READS), ("reader", READS), ("writer", WRITES)]
)
async def test_enough(guarded: Guarded, check: Callable[..., Any], name: str, needs: Needs) -> None:
    """Who may do what it needs starts, and nothing is left in the bucket."""
    url = f"s3://{guarded.bucket}/enough-{name}"
    await check(name, needs, url=url)
    assert left_behind(guarded, f"enough-{name}") == []


@pytest.mark.parametrize(
    ("name", "needs", "full", "sentence"),
    [
        ("reader", WRITES, False, r"write, for this worker sends claims \(s3:PutObject\)"),
        ("nobody", READS, False, r"write \(s3:PutObject\), or read and list"),
        ("nobody", READS, True, r"write \(s3:PutObject\), or read and list"),
    ],
)
async def test_not_enough(
    guarded: Guarded,
    check: Callable[..., Any],
    name: str,
    needs: Needs,
    full: bool,
    sentence: str,
) -> None:
    """The sentence names url, rule and what the server said."""
    prefix = f"not-enough-{name}-{full}"
    if full:
        with s3_client(guarded) as client:
            client.put_object(Bucket=guarded.bucket, Key=f"{prefix}/there", Body=b"x")
    url = f"s3://{guarded.bucket}/{prefix}"
    with pytest.raises(ConfigError, match=f"url '{url}' at .* {sentence}.*403 AccessDenied"):
        await check(name, needs, url=url)
    assert len(left_behind(guarded, prefix)) == full


@pytest.mark.parametrize("full", [False, True])
async def test_a_writer_that_reads(
    guarded: Guarded, check: Callable[..., Any], full: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Without listing nobody can tell; it starts, and the log says what is not known."""
    await check("writer", READS, url=f"s3://{guarded.bucket}/writer-{full}")
    (record,) = [entry for entry in caplog.records if entry.levelno == logging.WARNING]
    assert "whether this worker may read there is not known" in record.message


async def test_wrong_bucket(check: Callable[..., Any]) -> None:
    """Readers and writers are told that it is not there."""
    for name, needs in (("reader", READS), ("everybody", WRITES)):
        with pytest.raises(ConfigError, match=r"url 's3://not-there/x' .* a bucket that is there"):
            await check(name, needs, url="s3://not-there/x")


@pytest.mark.parametrize(
    ("name", "secret", "said"),
    [("stranger", None, "InvalidAccessKeyId"), ("reader", "wrong", "SignatureDoesNotMatch")],
)
async def test_wrong_credentials(
    guarded: Guarded, check: Callable[..., Any], name: str, secret: str | None, said: str
) -> None:
    """The sentence speaks of credentials, and has none in it."""
    with pytest.raises(ConfigError, match=f"the credentials that boto3 finds.*{said}") as caught:
        await check(name, READS, url=f"s3://{guarded.bucket}/x", secret=secret)
    assert (secret or name * 2) not in str(caught.value).replace("not match", "")


async def test_no_credentials(guarded: Guarded, make_store: MakeStore, aws: Any) -> None:
    """boto3 finds none, which is an error and not an outage."""
    store = make_store(endpoint_url=guarded.endpoint_url, region=guarded.region)
    with pytest.raises(ConfigError, match=r"boto3 finds.*Unable to locate credentials"):
        await check_store(store, Config(url=f"s3://{guarded.bucket}"), READS)


@pytest.mark.parametrize(
    ("behaviour", "settings", "sentence"),
    [
        (
            refuse(400, "AuthorizationHeaderMalformed", x_amz_bucket_region="eu-west-1"),
            {"region": "us-east-1"},
            "region 'us-east-1', url 's3://bucket/x' .* must fit the store: .*"
            "the bucket is in region eu-west-1",
        ),
        (
            refuse(400, "KMS.NotFoundException"),
            {"sse": "aws:kms", "sse_kms_key_id": "gone"},
            "sse 'aws:kms', sse_kms_key_id 'gone', url .* must fit the store: .*KMS.NotFound",
        ),
        (refuse(404, "NotFound"), {}, "at endpoint_url '.*' must name an S3 server"),
        (refuse(405, "MethodNotAllowed"), {}, "at endpoint_url '.*' must fit the store: .* 405"),
    ],
)
async def test_wrong_settings(
    behaviour: Behaviour,
    settings: dict[str, Any],
    sentence: str,
    faults: Callable[[Behaviour], FaultServer],
    make_store: MakeStore,
) -> None:
    """As AWS answers in a wrong region, with a wrong key, or something that is no S3 at all."""
    server = faults(behaviour)
    session = boto3.Session("key-id", "secret")
    region = settings.get("region", "us-east-1")
    store = make_store(session=session, endpoint_url=server.url, region=region)
    config = Config(url="s3://bucket/x", endpoint_url=server.url, **settings)
    with pytest.raises(ConfigError, match=sentence):
        await check_store(store, config, READS)


@pytest.mark.parametrize("engine", ["boto3", "obstore"])
@pytest.mark.parametrize(
    "behaviour",
    [
        page,
        answering(200, b"OK"),
        answering(200, b"<html></html>"),
        answering(404, b"<html><p>not found"),
        answering(404, b"404 page not found"),
        done,
        redirect,
    ],
)
async def test_what_is_no_s3_server(
    behaviour: Behaviour,
    engine: str,
    faults: Callable[[Behaviour], FaultServer],
    make_store: MakeStore,
    make_obstore: Callable[..., ObstoreStore],
) -> None:
    """Whoever answers, and not as S3 does, is not waited for."""
    url = faults(behaviour).url
    session = boto3.Session("key-id", "secret", region_name="us-east-1")
    settings: dict[str, Any] = {"session": session, "endpoint_url": url}
    store = (
        make_store(**settings)
        if engine == "boto3"
        else make_obstore(path_style=True, region="us-east-1", **settings)
    )
    with pytest.raises(ConfigError, match=f"at endpoint_url '{url}' must name an S3 server: "):
        await check_store(store, Config(url="s3://bucket/x", endpoint_url=url), READS)


@pytest.mark.parametrize(
    "behaviour", [answering(502, b"<html><p>bad gateway"), answering(503, b"back soon")]
)
async def test_a_gateway_without_its_server_is_waited_for(
    behaviour: Behaviour, faults: Callable[[Behaviour], FaultServer], make_store: MakeStore
) -> None:
    """The same pages with a status that says so are those of an outage."""
    server = faults(behaviour)
    session = boto3.Session("key-id", "secret", region_name="us-east-1")
    store = make_store(session=session, endpoint_url=server.url)
    waiting = asyncio.ensure_future(check_store(store, Config(url="s3://bucket/x"), READS))
    while len(server.requests) < 3:  # noqa: ASYNC110 - they are counted in another thread
        await asyncio.sleep(0.01)
    server.behaviour = refuse(404, "NoSuchBucket")
    with pytest.raises(ConfigError, match="must name a bucket that is there"):
        await waiting


async def test_a_name_that_leads_nowhere_is_waited_for(
    faults: Callable[[Behaviour], FaultServer],
    make_store: MakeStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Names come and go as servers do; one line says which it is that does not resolve."""
    server = faults(refuse(404, "NoSuchBucket"))
    resolve = socket.getaddrinfo
    asked = 0

    def resolving(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal asked
        if host == "store.invalid":
            asked += 1
            if asked < 3:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            host = "127.0.0.1"
        return resolve(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolving)
    url = f"http://store.invalid:{server.server_port}"
    session = boto3.Session("key-id", "secret", region_name="us-east-1")
    store = make_store(session=session, endpoint_url=url)
    with pytest.raises(ConfigError, match="must name a bucket that is there"):
        await check_store(store, Config(url="s3://bucket/x", endpoint_url=url), READS)
    (line,) = [entry.message for entry in caplog.records if entry.levelno == logging.WARNING]
    assert line.startswith("s3://bucket/x is unavailable for 0 s now: ")
    assert f'Could not connect to the endpoint URL: "{url}/' in line
    assert line.endswith("; the worker waits before it joins its group")


async def test_settings_that_boto3_refuses(make_store: MakeStore, aws: Any) -> None:
    """No request is made; the sentence is of the same kind."""
    store = make_store(region="us-east-1", profile="nobody")
    with pytest.raises(ConfigError, match=r"profile 'nobody', url .* must fit.*could not be found"):
        await check_store(store, Config(url="s3://b", profile="nobody"), READS)
