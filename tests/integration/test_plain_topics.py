"""An app that does not ask for anything is not touched by anything."""

from __future__ import annotations

import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from workers import APPS, Process, read_until

from faust_s3.claim import MAGIC

#: Not now, but not so long ago that retention would take the records away.
TIMESTAMP = str(float(int(time.time()) - 1000))
TOPICS = {"notes": 3, "chunks": 7, "copies": 7}


@pytest.fixture
def without_us(tmp_path: Path) -> Path:
    """All installed packages but ours, with what they say of themselves."""
    site = tmp_path / "site-packages"
    site.mkdir()
    for name in ("purelib", "platlib"):
        for path in Path(sysconfig.get_path(name)).iterdir():
            if not path.name.startswith("faust_s3") and not (site / path.name).exists():
                (site / path.name).symlink_to(path)
    return site


@pytest.fixture
def apps(
    stack: Any, environ: dict[str, str], without_us: Path, tmp_path: Path
) -> Iterator[dict[str, tuple[Process, dict[str, str]]]]:
    """The same app without this package, with it, and with an ``S3`` that no topic names."""
    started = {}
    for name, more in {
        "absent": {"PYTHONPATH": f"{without_us}:{APPS}"},
        "installed": {},
        "made": {"MAKE_S3": "yes"},
    }.items():
        names = {key: f"{environ[key]}-{name}" for key in ("APP_ID", "RECORDS", "SEEN")}
        for topic in (names["SEEN"], *(f"{names['RECORDS']}-{topic}" for topic in TOPICS)):
            stack.create_topic(topic, partitions=1)
        process = Process(
            *(["-S"] if name == "absent" else []),  # or Python adds its site-packages
            *("-m", "faust", "--datadir", str(tmp_path / name), "-A", "plain_app"),
            *("worker", "-l", "info", "--without-web"),
            environ={**environ, **names, "TIMESTAMP": TIMESTAMP, **more},
            cwd=tmp_path,
        )
        started[name] = process, names
    yield started
    for process, _ in started.values():
        if process.running:
            process.kill()


def test_plain_topics_are_the_same_byte_for_byte(
    stack: Any, apps: dict[str, tuple[Process, dict[str, str]]]
) -> None:
    """Keys, values, headers and times on the topics, and what agents saw, with us and without."""
    found: dict[str, Any] = {}
    for name, (process, names) in apps.items():
        there = "not there" if name == "absent" else "there"
        process.wait_for(f"faust_s3 is {there}")
        found[name] = {
            topic: [
                (record.key, record.value, record.headers, record.timestamp, record.timestamp_type)
                for record in read_until(
                    stack.bootstrap,
                    f"{names['RECORDS']}-{topic}",
                    lambda records, count=count: len(records) >= count,  # type: ignore[misc]
                )
            ]
            for topic, count in TOPICS.items()
        }
        reports = read_until(stack.bootstrap, names["SEEN"], lambda records: len(records) >= 3 + 7)
        found[name]["seen"] = sorted(record.value for record in reports)
        assert process.stop() == 0
    values = [value for _, value, *_ in found["absent"]["chunks"]]
    assert values[3] == bytes(300_000)
    assert values[4] == MAGIC
    assert found["installed"] == found["absent"]
    assert found["made"] == found["absent"]
