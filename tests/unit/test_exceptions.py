"""Errors: their families, what they carry, and that it survives."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from faust.exceptions import DecodeError, ImproperlyConfigured

from faust_s3 import exceptions
from faust_s3.exceptions import (
    AccessDenied,
    BucketMissing,
    ClaimError,
    ConfigError,
    IntegrityError,
    ObjectMissing,
    PayloadTooLarge,
    PermanentError,
    RequestRefused,
    S3Error,
    StoreUnavailable,
)

PERMANENT = [
    AccessDenied,
    BucketMissing,
    ClaimError,
    IntegrityError,
    ObjectMissing,
    PayloadTooLarge,
    RequestRefused,
]
EVERY = [getattr(exceptions, name) for name in exceptions.__all__]
COORDINATES = {
    "bucket": "my-bucket",
    "key": "photos/a",
    "topic": "uploads",
    "partition": 0,
    "offset": 0,
    "size": 0,
    "attempts": 3,
}


def test_every_class_is_public() -> None:
    """No error of the module is missing from its ``__all__``."""
    classes = {
        name
        for name, value in vars(exceptions).items()
        if isinstance(value, type) and value.__module__ == exceptions.__name__
    }
    assert classes == set(exceptions.__all__)


@pytest.mark.parametrize("cls", EVERY)
def test_everything_is_an_s3_error(cls: type[S3Error]) -> None:
    """One class catches all."""
    assert issubclass(cls, S3Error)


@pytest.mark.parametrize("cls", PERMANENT)
def test_permanent_family(cls: type[S3Error]) -> None:
    """What trying again does not help with is a PermanentError."""
    assert issubclass(cls, PermanentError)


def test_every_error_is_in_one_family() -> None:
    """Each error is retryable, permanent or of the configuration, and in one family only."""
    for cls in EVERY:
        if cls is not S3Error:
            families = (StoreUnavailable, PermanentError, ConfigError)
            assert sum(issubclass(cls, family) for family in families) == 1, cls


def test_config_error_is_fausts() -> None:
    """Faust reports a wrong setting of ours as it does its own."""
    assert issubclass(ConfigError, ImproperlyConfigured)


def test_faust_shows_a_config_error_in_one_line(tmp_path: Path) -> None:
    """A wrong setting ends ``faust -A app worker`` with its sentence, and no traceback."""
    (tmp_path / "wrong_setting.py").write_text(
        "import faust\n"
        "from faust_s3 import S3\n"
        'app = faust.App("wrong")\n'
        's3 = S3(app, "s3://bucket", prefetch=0)\n'
    )
    command = [sys.executable, "-m", "faust", "-A", "wrong_setting", "worker"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "Error: prefetch 0 must be at least 1\n")


@pytest.mark.parametrize("cls", EVERY)
def test_no_error_is_a_decode_error(cls: type[S3Error]) -> None:
    """Faust acknowledges a message whose decoding raises a DecodeError."""
    assert not issubclass(cls, DecodeError)


@pytest.mark.parametrize("cls", EVERY)
def test_attributes_are_kept(cls: type[S3Error]) -> None:
    """Coordinates are attributes, zeros included."""
    error = cls("it broke", **COORDINATES)
    assert {name: getattr(error, name) for name in COORDINATES} == COORDINATES
    assert error.reason == "it broke"


@pytest.mark.parametrize("cls", EVERY)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_round_trip(cls: type[S3Error], protocol: int) -> None:
    """An error that comes from another process is the same error."""
    error = cls("it broke", **COORDINATES)
    other = pickle.loads(pickle.dumps(error, protocol))
    assert type(other) is cls
    assert str(other) == str(error)
    assert other.args == error.args
    assert {name: getattr(other, name) for name in COORDINATES} == COORDINATES


def test_copy() -> None:
    """A copy has the coordinates too."""
    assert copy.copy(ObjectMissing("gone", key="a")).key == "a"


def test_str_names_what_is_known() -> None:
    """The text has the reason and the coordinates that are there, zeros included."""
    error = ObjectMissing("there is no such object", bucket="b", key="k/1", offset=0)
    assert str(error) == "there is no such object (bucket='b', key='k/1', offset=0)"


def test_str_without_coordinates() -> None:
    """Without coordinates the text is the reason."""
    assert str(ConfigError("threshold -1 must not be negative")) == (
        "threshold -1 must not be negative"
    )


def test_at_adds() -> None:
    """``at`` fills in what the raiser did not know, and returns the error to raise it."""
    error = ClaimError("bad", bucket="b")
    assert error.at(topic="t", partition=0, offset=0, attempts=2) is error
    assert (error.topic, error.partition, error.offset, error.attempts) == ("t", 0, 0, 2)
    assert error.bucket == "b"


def test_at_keeps() -> None:
    """``at`` changes nothing that the raiser knew, zeros included."""
    error = ClaimError("bad", topic="t", partition=0, offset=0, attempts=1)
    error.at(topic="other", partition=1, offset=1, attempts=2)
    assert (error.topic, error.partition, error.offset, error.attempts) == ("t", 0, 0, 1)


def test_at_nothing() -> None:
    """``at`` without arguments changes nothing."""
    error = ClaimError("bad")
    assert str(error.at()) == "bad"
