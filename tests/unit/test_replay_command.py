"""``faust -A app s3-replay``, before it meets Kafka; the rest is in tests/integration."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import faust
import pytest
from faust.cli.base import call_command
from worlds import make_app, make_s3, message

from faust_s3 import ObjectMissing
from faust_s3.cli import s3_replay
from faust_s3.connection import reader
from faust_s3.letters import letter_of
from faust_s3.replay import Selection

NOW = datetime.now(timezone.utc)
LETTER = replace(letter_of(message(b"value", offset=7), ObjectMissing("gone"), app="test"), at=NOW)


def call(*args: str, with_s3: bool = True) -> tuple[Any, str]:
    """Run the command for an app, and return its code and what it says."""
    app = make_app()
    if with_s3:
        make_s3(app)
    code, out, err = call_command(s3_replay._click.name, list(args), app=app)
    return code, out.getvalue() + err.getvalue()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--offset", "7"], "--offset needs --partition"),
        (["--partition", "0"], "--partition needs --topic"),
        (["--topic", "t", "--offset", "7"], "--offset needs --partition"),
        (["--partition", "-1"], "-1 is not in the range"),
        (["--error", "Nonsense"], "'Nonsense' is not one of"),
        (["--since", "yesterday"], "'yesterday' must be like 2026-11-25"),
    ],
)
def test_wrong_options(args: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, and Faust's code for such mistakes."""
    code, _ = call(*args)
    assert code == 2
    assert says in capsys.readouterr().err


def test_an_app_without_s3(capsys: pytest.CaptureFixture[str]) -> None:
    """It has no dead letters."""
    code, _ = call(with_s3=False)
    assert code == 2
    assert "the app 'test' has no S3(app)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({}, True),
        ({"topic": "photos"}, True),
        ({"topic": "others"}, False),
        ({"topic": "photos", "partition": 0, "offset": 7}, True),
        ({"topic": "photos", "partition": 1}, False),
        ({"topic": "photos", "partition": 0, "offset": 0}, False),
        ({"error": "ObjectMissing"}, True),
        ({"error": "ClaimError"}, False),
        ({"since": NOW}, True),
        ({"since": NOW + timedelta(seconds=1)}, False),
    ],
)
def test_selections(chosen: dict[str, Any], found: bool) -> None:
    """Everything that is chosen has to fit; 0 is a number."""
    assert (LETTER in Selection(**chosen)) is found


async def test_the_apps_connection() -> None:
    """Brokers, credentials and the largest record are the app's."""
    app = make_app(
        broker="kafka://one:1;kafka://two:2",
        broker_credentials=faust.SASLCredentials(
            username="me", password="secret", mechanism="PLAIN"
        ),
    )
    consumer = reader(app)
    client: Any = consumer._client
    assert client._bootstrap_servers == ["one:1", "two:2"]
    assert (client._sasl_plain_username, client._security_protocol) == ("me", "SASL_PLAINTEXT")
    assert consumer._group_id is None
    await consumer.stop()


def test_only_apps_with_s3_have_the_command() -> None:
    """That the package is installed changes nothing for an app that did not ask."""
    script = """
        import sys
        import faust
        from faust.cli.base import cli, prepare_app

        app = faust.App("plain", autodiscover=False)
        prepare_app(app, "plain")
        assert "s3-replay" not in cli.commands, "plain"
        assert "faust_s3.cli" not in sys.modules

        from faust_s3 import S3
        from faust_s3.stores import MemoryStore
        app = faust.App("asking", autodiscover=False)
        S3(app, "s3://bucket", store=MemoryStore())
        assert "s3-replay" not in cli.commands, "too early"
        prepare_app(app, "asking")
        assert "s3-replay" in cli.commands, "asking"
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
