"""What a setting may be written as: a number, a size such as ``256KiB``, a word, a list.

The environment and files hold text; each function takes that, or what the code would say, and
raises ``ValueError`` with the rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

__all__ = ["BY_TYPE", "GIB", "KIB", "MIB"]

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

_UNITS: Final = {
    "": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": KIB, "MIB": MIB, "GIB": GIB,
}  # fmt: skip


def _to_int(value: Any) -> int:
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+)\s*([A-Za-z]*)\s*", value)
        if not match or match[2].upper() not in _UNITS:
            raise ValueError("must be a whole number, or a size such as 256KiB")
        return int(match[1]) * _UNITS[match[2].upper()]
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004 - one kind for callers
    return value


def _to_float(value: Any) -> float:
    if not isinstance(value, bool):
        with suppress(TypeError, ValueError, OverflowError):
            return float(value)
    raise ValueError("must be a number of seconds")


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "on": True, "1": True,
             "false": False, "no": False, "off": False, "0": False}  # fmt: skip
    try:
        return words[value.lower()]
    except (AttributeError, KeyError):
        raise ValueError("must be true or false") from None


def _to_str(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")  # noqa: TRY004 - one kind for callers
    return value


def _to_int_or_none(value: Any) -> int | None:
    return None if value is None else _to_int(value)


def _to_str_or_none(value: Any) -> str | None:
    return None if value is None else _to_str(value)


def _to_urls(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(re.findall(r"[^\s,]+", value))
    if not isinstance(value, (list, tuple)) or not all(isinstance(url, str) for url in value):
        raise ValueError("must be a list of s3://bucket/prefix")
    return tuple(value)


#: By the type of the setting.
BY_TYPE: Final[Mapping[Any, Callable[[Any], Any]]] = {
    int: _to_int,
    int | None: _to_int_or_none,
    float: _to_float,
    bool: _to_bool,
    str: _to_str,
    str | None: _to_str_or_none,
    tuple[str, ...]: _to_urls,
}
