"""``examples/quickstart``, as a reader runs it: real photographs through a real worker."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "examples/quickstart/run.py"]
TIMEOUT = 120
THRESHOLD = 256 * 1024

ROW = re.compile(
    r"^(?P<name>\S+) +(?P<size>[\d,]+) +(?P<on_topic>[\d,]+)  (?P<place>\S+) +(?P<same>\S.*)$", re.M
)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment without servers and settings of others, and with a folder of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FAUST_S3_")}
    return {**kept, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}


def number(text: str) -> int:
    return int(text.replace(",", ""))


def assert_nothing_runs(output: str, scratch: Path) -> None:
    """Everything that the quickstart starts has its ports in the output or its files in scratch."""
    servers = re.search(
        r"Kafka at kafka://127\.0\.0\.1:(\d+), S3 at http://127\.0\.0\.1:(\d+)", output
    )
    assert servers is not None, output
    for port in servers.groups():
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", int(port))) != 0, f"port {port} is open"
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(scratch) not in processes.stdout
    assert not list(scratch.iterdir())


def test_photographs_arrive_whole_and_large_ones_are_in_s3(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """The table shows each record on the right side of the threshold, with the same bytes."""
    done = subprocess.run(
        COMMAND, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    rows = [match.groupdict() for match in ROW.finditer(done.stdout)]
    assert len(rows) == 32
    for row in rows:
        assert row["same"] == "yes"
        if number(row["size"]) > THRESHOLD:
            assert re.fullmatch(
                r"s3://faust-s3/photos/\d{4}/\d\d/\d\d/[0-9a-f]{8}\.\.\.", row["place"]
            )
            assert number(row["on_topic"]) < 100
        else:
            assert row["place"] == "inline"
            assert row["on_topic"] == row["size"]
    large = [number(row["size"]) for row in rows if row["place"] != "inline"]
    assert len(large) == 10
    assert re.search(rf"^in S3 +{sum(large):,}$", done.stdout, re.M)
    assert "All 32 photographs arrived whole and in order" in done.stdout
    assert_nothing_runs(done.stdout, tmp_path)


def test_a_failure_is_said_in_a_sentence_and_stops_everything(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """A photograph that may not be sent makes the exit code 1."""
    done = subprocess.run(
        COMMAND,
        cwd=ROOT,
        env={**environ, "FAUST_S3_MAX_PAYLOAD": "5MB"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("Failed: ")
    assert "5972780" in done.stderr
    assert "Traceback" not in done.stderr
    assert_nothing_runs(done.stdout, tmp_path)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_stops_everything(
    environ: dict[str, str], tmp_path: Path, stop: signal.Signals
) -> None:
    """Ctrl-C and a polite kill leave neither servers nor worker behind."""
    with subprocess.Popen(
        COMMAND, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            said = ""
            for line in running.stdout:
                said += line
                if line.startswith("seen by the agent: 0"):
                    break
            running.send_signal(stop)
            output, errors = running.communicate(timeout=TIMEOUT)
        finally:
            running.kill()

    assert running.returncode == 130, said + output + errors
    assert errors == "Interrupted; servers and worker are stopped.\n"
    assert_nothing_runs(said, tmp_path)
