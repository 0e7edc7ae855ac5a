"""The agent decorator: one agent's own way of reading."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar, cast

from faust.types import TP, AgentT, TopicT

from faust_s3.disposal import disposed_of
from faust_s3.exceptions import ConfigError, PermanentError, S3Error
from faust_s3.hub import Policy
from faust_s3.payload import record_of
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
            if channel.policy.lazy:
                return _loading(fun(stream, *args, **kwargs), channel)
        elif isinstance(channel, TopicT):  # not the plain channel of agent.test_context()
            raise ConfigError(
                f"s3.rehydrate is on the agent {fun.__name__!r}, but its topic {channel!s} does "
                "not offload: name the codec in its serializer, or use s3.offload(topic)"
            )
        return fun(stream, *args, **kwargs)

    return cast(F, agent)


def _loading(running: Any, channel: OffloadingTopic) -> Any:
    """Return the same, an asynchronous generator or a coroutine, that may load handles."""
    if isinstance(running, AsyncIterator):
        return _generator(running, channel)
    return _coroutine(running, channel)


async def _generator(running: Any, channel: OffloadingTopic) -> AsyncIterator[Any]:
    async with _applying_policy(channel), aclosing(running):
        async for result in running:
            yield result


async def _coroutine(running: Awaitable[Any], channel: OffloadingTopic) -> Any:
    async with _applying_policy(channel):
        return await running


@asynccontextmanager
async def _applying_policy(channel: OffloadingTopic) -> AsyncIterator[None]:
    """Judge a failed load as a failed download ahead of the stream, if the agent does not.

    Faust acknowledges the event of an agent that fails, and restarts the agent.
    """
    try:
        yield
    except S3Error as exc:
        if exc.topic is None or exc.partition is None or exc.offset is None:
            raise  # not of a record
        failure: BaseException | None = exc
        if isinstance(exc, PermanentError) and (record := record_of(exc)) is not None:
            policy = channel.policy.on_bad_claim
            failure = await disposed_of(channel.hub, policy, record, exc)
        if failure is not None:
            await channel.hub.not_loaded(TP(exc.topic, exc.partition), exc.offset, failure)
        raise
