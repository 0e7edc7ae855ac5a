"""Ports that nobody uses, and that nobody will take while a server restarts."""

from __future__ import annotations

import random
import socket
from typing import Final

__all__ = ["free_ports"]

#: Below the range that systems give to outgoing connections (from 32768 on Linux, from
#: 49152 on macOS): between a server's end and its return nobody gets its port by chance.
_LOWEST: Final = 12_000
_HIGHEST: Final = 32_000
#: Two blocks overlap only if they are the same, which keeps neighbours apart that look for
#: ports at the same time.
_BLOCK: Final = 10
_ATTEMPTS: Final = 100

_random = random.SystemRandom()


def free_ports(count: int) -> range:
    """Return so many adjacent ports of 127.0.0.1, at most 10, on which nothing listens."""
    if not 0 < count <= _BLOCK:
        raise ValueError(f"count={count} is not between 1 and {_BLOCK}")
    for _ in range(_ATTEMPTS):
        first = _random.randrange(_LOWEST, _HIGHEST, _BLOCK)
        if all(_is_free(port) for port in range(first, first + count)):
            return range(first, first + count)
    raise OSError(f"no {count} adjacent free ports between {_LOWEST} and {_HIGHEST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
