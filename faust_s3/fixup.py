"""How Faust comes to know the commands of this package.

An entry point in the group ``faust.fixups``: Faust makes one of these for each app, in every
program in whose environment this package is installed. It does nothing before a program asks
for a command, and then only for an app that has an ``S3(app)``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from faust.fixups.base import Fixup

from faust_s3.extension import S3

__all__ = ["Commands"]


class Commands(Fixup):
    """Registers the commands of an app that has an ``S3``."""

    def enabled(self) -> bool:
        """Be told when the app is about to run a command."""
        return True

    def on_worker_init(self) -> None:
        """Wait until all modules of the app have been imported."""
        self.app.on_worker_init.connect(self._on_discovered, weak=True)

    def _on_discovered(self, app: Any, /, *args: Any, signal: Any = None, **kwargs: Any) -> None:
        if any(isinstance(child, S3) for child in app._children):
            import_module("faust_s3.cli")  # to import it is to register them
