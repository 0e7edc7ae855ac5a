"""The agent decorator: one agent's own way of reading."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from faust.types import AgentT, TopicT

from faust_s3.exceptions import ConfigError
from faust_s3.hub import Policy
from faust_s3.topic import OffloadingTopic

__all__ = ["with_policy"]

F = TypeVar("F", bound=Callable[..., Any])


def with_policy(fun: F, policy: Callable[[], Policy]) -> F:
    """Have an agent function's stream read by a policy.

    Args:
        fun: What ``@app.agent`` will get.
        policy: Asked when the agent starts.

    Raises:
        ConfigError: If it is not a function; and when the agent starts, if its topic does
            not offload.
    """
    if isinstance(fun, AgentT):
        raise ConfigError(
            f"s3.rehydrate stands above @app.agent at {fun.name!r}; it must stand below it"
        )

    @functools.wraps(fun)
    def agent(stream: Any, *args: Any, **kwargs: Any) -> Any:
        channel = stream.channel
        if isinstance(channel, OffloadingTopic) and channel.opt_in:
            channel.policy = policy()
        elif isinstance(channel, TopicT):  # not the plain channel of agent.test_context()
            raise ConfigError(
                f"s3.rehydrate is on the agent {fun.__name__!r}, but its topic {channel!s} does "
                "not offload: name the codec in its serializer, or use s3.offload(topic)"
            )
        return fun(stream, *args, **kwargs)

    return cast(F, agent)
