"""What may become of a record whose claim can never be redeemed."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, TypeAlias

from faust.types import Message

from faust_s3.exceptions import ConfigError, PermanentError

__all__ = ["Judge", "OnBadClaim", "Verdict", "check_on_bad_claim", "decide"]

#: ``"raise"`` crashes the worker with the record's offset uncommitted, ``"skip"`` logs and
#: acknowledges it, ``"dead_letter"`` puts it on the dead letter topic and acknowledges it.
Verdict: TypeAlias = Literal["raise", "skip", "dead_letter"]

#: A function of the record, as it lies on the topic, and the error. It may be asynchronous; the
#: stream waits for it. What it raises crashes the worker, as ``"raise"`` does.
Judge: TypeAlias = Callable[[Message, PermanentError], Verdict | Awaitable[Verdict]]

OnBadClaim: TypeAlias = Verdict | Judge

_VERDICTS: Final = ("raise", "skip", "dead_letter")


def check_on_bad_claim(value: Any) -> None:
    """Raise ``ConfigError`` unless ``value`` is a policy for claims beyond redemption."""
    if not callable(value) and value not in _VERDICTS:
        raise ConfigError(
            f"on_bad_claim {value!r} must be one of {', '.join(_VERDICTS)}, or a function"
        )


async def decide(policy: OnBadClaim, message: Message, error: PermanentError) -> Verdict:
    """Return what becomes of a record.

    Args:
        policy: The word, or the function that is asked.
        message: The record, as it lies on the topic.
        error: Why its claim cannot be redeemed.

    Raises:
        ConfigError: If the function returns anything but one of the words. ``None`` is none of
            them: a function that forgets to return must not lose records.
        Exception: Whatever the function raises.
    """
    if not callable(policy):
        return policy
    verdict: Any = policy(message, error)
    if inspect.isawaitable(verdict):
        verdict = await verdict
    if verdict not in _VERDICTS:
        name = getattr(policy, "__qualname__", repr(policy))
        raise ConfigError(
            f"on_bad_claim {name} returned {verdict!r}; it must return one of "
            f"{', '.join(_VERDICTS)}"
        )
    found: Verdict = verdict
    return found
