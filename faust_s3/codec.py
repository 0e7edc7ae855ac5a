"""The codec: how a topic, a model or an app opts in by name.

Inside a topic that knows us the codec does no I/O: when it dumps it only tells the topic
that it was named, and the topic offloads; what it loads is whole already. Anywhere else
it does the same work by itself, synchronously.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Literal
from weakref import WeakSet

from faust.serializers.codecs import Codec, codecs, get_codec
from faust.types.codecs import CodecArg, CodecT
from mode.utils.compat import want_bytes

from faust_s3.blocking import BlockingPipeline
from faust_s3.claim import is_envelope
from faust_s3.exceptions import ConfigError
from faust_s3.pipeline import Pipeline

__all__ = [
    "DEFAULT_NAME",
    "BoundCodec",
    "CodecOwner",
    "NamedCodec",
    "S3Codec",
    "find_codec",
    "name_codec",
    "now_the_value",
    "owners",
    "within_topic",
]

DEFAULT_NAME: Final = "s3"


class CodecOwner:
    """What a codec works with: an ``S3`` object, as far as codecs know it.

    Attributes:
        name: The codec's name.
        pipeline: For topics.
        blocking: For everybody else.
    """

    name: str
    pipeline: Pipeline
    blocking: BlockingPipeline


#: All that live in this process, to find one by its name where no app is at hand.
owners: WeakSet[CodecOwner] = WeakSet()


@dataclass(slots=True)
class Named:
    """Which of our codecs ran while a topic serialized a message.

    Attributes:
        side: What is being serialized now.
        key: The codec that ran for the key.
        value: The codec that ran for the value.
    """

    side: Literal["key", "value"] = "key"
    key: S3Codec | None = None
    value: S3Codec | None = None


_named: ContextVar[Named | None] = ContextVar("faust_s3_named", default=None)


class within_topic:
    """Make codecs leave the work to the topic, and tell which of them ran."""

    __slots__ = ("_token",)

    def __enter__(self) -> Named:
        named = Named()
        self._token = _named.set(named)
        return named

    def __exit__(self, *exc_info: object) -> None:
        _named.reset(self._token)


def now_the_value() -> None:
    """Tell codecs that the topic is done with the key."""
    if (named := _named.get()) is not None:
        named.side = "value"


def name_codec(codec: S3Codec | None) -> None:
    """Tell the topic of a codec that is asked for, but that Faust will not run."""
    if codec is not None and (named := _named.get()) is not None:
        setattr(named, named.side, codec)


class S3Codec(Codec):
    """Base of our codecs; stands last in a chain, because a claim is the outermost encoding."""

    @abstractmethod
    def owner(self, by_name: Mapping[str, CodecOwner] | None = None) -> CodecOwner:
        """Return what this codec works with.

        Args:
            by_name: The ``S3`` objects of the app at hand, if there is one.

        Raises:
            ConfigError: If there is none, or more than one and no app to choose by.
        """

    @property
    def topic(self) -> str | None:
        """Topic for object keys, if this codec knows one."""
        return None

    def _dumps(self, obj: Any) -> bytes:
        payload: bytes = want_bytes(obj)
        named = _named.get()
        if named is None:
            if not payload:
                return payload  # tombstones and empty values stay what they are
            return self.owner().blocking.offload(payload, topic=self.topic)
        name_codec(self)
        return payload

    def _loads(self, s: bytes) -> bytes:
        if _named.get() is None and is_envelope(s):
            return self.owner().blocking.rehydrate(s)
        return s

    def clone(self, *children: CodecT) -> CodecT:
        """Refuse to be followed by another codec.

        Only as the first in a chain: Faust clones no other codec, nor tells it of the chain.
        Topics see the rest (:func:`find_codec`).
        """
        if children:
            raise ConfigError(
                f"codec {self!r} must be the last in a chain, like 'json|s3'; "
                f"here {children[0]!r} follows it"
            )
        return super().clone()


class NamedCodec(S3Codec):
    """The codec as the registry has it: finds its ``S3`` object when it is used.

    The registry is one for the process and the entry point makes this with no arguments,
    so that it cannot belong to one app.
    """

    def __init__(
        self, children: tuple[CodecT, ...] | None = None, *, name: str = DEFAULT_NAME
    ) -> None:
        super().__init__(children=children, name=name)
        self.name = name

    def owner(self, by_name: Mapping[str, CodecOwner] | None = None) -> CodecOwner:
        if by_name is not None:
            if self.name in by_name:
                return by_name[self.name]
            raise ConfigError(f"codec {self.name!r} is used, but this app has no such S3(app)")
        found = [owner for owner in owners if owner.name == self.name]
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(
                f"codec {self.name!r} belongs to {len(found)} S3 objects in this process; "
                "use the codec of one of them, s3.codec"
            )
        raise ConfigError(f"codec {self.name!r} is used, but no S3 object was made for it")


class BoundCodec(S3Codec):
    """The codec of one ``S3`` object.

    Args:
        owner: The object.
        topic: Topic for object keys, which a codec cannot see by itself.
    """

    def __init__(
        self,
        children: tuple[CodecT, ...] | None = None,
        *,
        owner: CodecOwner,
        topic: str | None = None,
    ) -> None:
        super().__init__(children=children, owner=owner, topic=topic)
        self._owner = owner
        self._topic = topic

    def owner(self, by_name: Mapping[str, CodecOwner] | None = None) -> CodecOwner:
        return self._owner

    @property
    def topic(self) -> str | None:
        return self._topic

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._owner.name!r})"


def find_codec(serializer: CodecArg) -> S3Codec | None:
    """Return our codec if a serializer names it.

    Raises:
        ConfigError: If it stands anywhere but last.
    """
    if serializer is None:
        return None
    if isinstance(serializer, str):
        get_codec("raw")  # loads the entry points
        nodes: list[Any] = [codecs.get(name) for name in serializer.split("|")]
    else:
        nodes = list(getattr(serializer, "nodes", ()))
    ours = [index for index, node in enumerate(nodes) if isinstance(node, S3Codec)]
    if not ours:
        return None
    if ours != [len(nodes) - 1]:
        raise ConfigError(
            f"serializer {serializer!r} has the codec {nodes[ours[0]]!r} in the wrong place; "
            "it must be the last in the chain, like 'json|s3'"
        )
    found: S3Codec = nodes[-1]
    return found
