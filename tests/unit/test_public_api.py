"""What is public, and that it is all there."""

from __future__ import annotations

import inspect
import types

import pytest

import faust_s3
from faust_s3 import exceptions


def test_all_is_what_is_there() -> None:
    """``__all__`` names what the package binds, but for its modules."""
    bound = {
        name
        for name, value in vars(faust_s3).items()
        if not name.startswith("_")
        and not isinstance(value, types.ModuleType)
        and name != "annotations"
    }
    assert bound == set(faust_s3.__all__)


def test_all_is_short() -> None:
    """There are at most 15 public names, each once."""
    assert len(set(faust_s3.__all__)) == len(faust_s3.__all__) <= 15


@pytest.mark.parametrize("name", faust_s3.__all__)
def test_docstrings(name: str) -> None:
    """Every public class has a docstring of its own."""
    assert inspect.cleandoc(vars(getattr(faust_s3, name))["__doc__"])


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (getattr(faust_s3, public), name)
        for public in faust_s3.__all__
        for name, value in vars(getattr(faust_s3, public)).items()
        if callable(value) and not name.startswith("_")
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_methods_have_docstrings(cls: type, name: str) -> None:
    """Every public method of a public class says what it does, or overrides one that does."""
    assert inspect.getdoc(getattr(cls, name))


def test_every_error_is_public() -> None:
    """Who catches an error of ours imports it from the package."""
    assert set(exceptions.__all__) <= set(faust_s3.__all__)


def test_version() -> None:
    """The version is a version."""
    assert [part.isdigit() for part in faust_s3.__version__.split(".")] == [True] * 3
