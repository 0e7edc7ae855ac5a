"""What the package says of itself."""

from __future__ import annotations

import re
from importlib.metadata import requires
from pathlib import Path

OLDEST = Path(__file__).parents[1] / "oldest.txt"


def test_the_oldest_versions_are_those_that_are_tested() -> None:
    """Each lower bound is the version of which ``tox run -e oldest`` runs the tests."""
    bounds = {
        match["name"]: match["version"]
        for requirement in requires("faust-s3") or ()
        if (match := re.match(r"(?P<name>[\w-]+)>=(?P<version>[\d.]+)", requirement))
        and "extra == 'local'" not in requirement.replace('"', "'")
    }
    tested = dict(
        line.split("==") for line in OLDEST.read_text("utf-8").splitlines() if "==" in line
    )
    assert bounds == tested
