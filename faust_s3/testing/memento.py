"""An app as it was before it ran.

Faust's objects are made once, at module level, and keep what a run leaves in them: started
services, events that belong to an event loop, assignments, acknowledged offsets. Faust has no
way back, so this notes the attributes of all objects that make up an app, and puts them back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final
from weakref import WeakSet, WeakValueDictionary

__all__ = ["Memento"]

#: Where the classes come from whose instances make up an app, itself or by inheritance.
_PACKAGES: Final = frozenset({"faust", "mode", "faust_s3", "asyncio"})
#: Of these, what belongs to one run, or describes rather than does something.
_FOREIGN: Final = (type, asyncio.AbstractEventLoop, asyncio.Future, BaseException)

_Restore = Callable[[], object]


class Memento:
    """The state of an app, and of all it is made of.

    Args:
        app: The app, before it starts.
    """

    def __init__(self, app: Any) -> None:
        self._found = list(_parts_of(app))
        self._restore = [restore for part in self._found if (restore := _note(part))]

    def release(self) -> None:
        """Let go of event loops other than the running one, and of futures that wait there.

        Faust binds its objects to one as soon as it is asked for certain attributes.
        """
        here = asyncio.get_running_loop()
        for part in filter(_is_part, self._found):
            stale = [name for name, value in vars(part).items() if _loop_of(value, here) != here]
            vars(part).update(dict.fromkeys(stale))

    def restore(self) -> None:
        """Put everything back."""
        for restore in self._restore:
            restore()


def _parts_of(app: Any) -> Iterator[Any]:
    seen: dict[int, Any] = {}  # keeps them alive, or an id might come again
    waiting: deque[Any] = deque([app])
    while waiting:
        part = waiting.popleft()
        if id(part) in seen:
            continue
        if isinstance(part, (dict, WeakValueDictionary)):
            inner = [*part.keys(), *part.values()]
        elif isinstance(part, (list, tuple, set, frozenset, deque, WeakSet)):
            inner = list(part)
        elif _is_part(part):
            inner = list(vars(part).values())
        else:
            continue
        seen[id(part)] = part
        waiting.extend(inner)
        yield part


def _is_part(found: Any) -> bool:
    return (
        hasattr(found, "__dict__")
        and not isinstance(found, _FOREIGN)
        and any(cls.__module__.partition(".")[0] in _PACKAGES for cls in type(found).__mro__)
    )


def _loop_of(value: Any, default: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
    if isinstance(value, asyncio.Future) and not value.done():
        return value.get_loop()
    return value if isinstance(value, asyncio.AbstractEventLoop) else default


def _note(part: Any) -> _Restore | None:
    """Return what puts an object back, or the content of a container."""
    if isinstance(part, (tuple, frozenset)):
        return None
    if isinstance(part, (list, deque)):
        items = list(part)
        return lambda: (part.clear(), part.extend(items))
    content: Any
    if isinstance(part, (set, WeakSet)):
        content = set(part)
    else:
        part = part if isinstance(part, (dict, WeakValueDictionary)) else vars(part)
        content = dict(part)
    return lambda: (part.clear(), part.update(content))
