"""Imports point one way, and importing has no effect."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import faust_s3

PACKAGE = Path(faust_s3.__file__).parent

#: From left to right; each may import from those left of it and from its own.
LAYERS = [
    {
        "exceptions",
        "offloop",
        "claim",
        "compression",
        "keys",
        "places",
        "policy",
        "values",
        "config",
        "retry",
        "sharing",
        "slots",
        "order",
        "window",
    },
    {"stores"},
    {"engines"},
    {"pipeline", "upload", "streaming", "coding"},
    {"blocking", "payload"},
    {
        "internals",
        "rebalance",
        "membership",
        "checks",
        "startup",
        "commits",
        "codec",
        "prefetch",
        "fallback",
        "hub",
        "outgoing",
        "letters",
        "disposal",
        "connection",
        "replay",
        "sending",
        "receiving",
        "topic",
        "event",
        "tables",
        "agent",
    },
    {"extension", "__init__"},
    {"cli", "fixup"},
    {"testing"},
    {"local"},
]


def modules() -> dict[str, ast.Module]:
    """Return the syntax trees of the package, by dotted name within it."""
    trees = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(
            parts if len(parts) == 1 else [part for part in parts if part != "__init__"]
        )
        trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    return trees


MODULES = modules()


def imports(tree: ast.AST, *, at_run_time: bool = False) -> Iterator[str]:
    """Yield what a module imports, wherever that stands."""
    for node in ast.iter_child_nodes(tree):
        if at_run_time and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node, at_run_time=at_run_time)


def own_imports(name: str) -> set[str]:
    """Return the modules of the package that one of them imports."""
    found = set()
    for imported in imports(MODULES[name]):
        package, _, inner = imported.partition(".")
        if package == "faust_s3":
            while inner and inner not in MODULES:
                inner = inner.rpartition(".")[0]
            found.add(inner or "__init__")
    return found


def layer_of(name: str) -> int:
    (layer,) = [n for n, layer in enumerate(LAYERS) if name.partition(".")[0] in layer]
    return layer


def test_every_module_has_its_layer() -> None:
    """A new module is added to the list above, in one place."""
    assert {name.partition(".")[0] for name in MODULES} == set().union(*LAYERS)


def test_imports_point_to_the_left() -> None:
    """No module imports from a layer right of its own, for type checking neither."""
    wrong = [
        f"{name} imports {imported}"
        for name in MODULES
        for imported in own_imports(name)
        if layer_of(imported) > layer_of(name)
    ]
    assert not wrong


def test_no_cycles() -> None:
    """Modules of one layer do not import each other."""
    TopologicalSorter({name: own_imports(name) - {name} for name in MODULES}).prepare()


def test_the_document_has_the_same_order() -> None:
    """``docs/architecture.md`` has a row for each module, below all that it imports."""
    document = (Path(__file__).parents[2] / "docs/architecture.md").read_text(encoding="utf-8")
    rows = [row.rstrip("/") for row in re.findall(r"^\| `([\w/]+)` \|", document, re.MULTILINE)]

    def row_of(name: str) -> int:
        path = name.replace(".", "/")
        while path not in rows:  # a package has one row for what has none of its own
            assert path, f"no row for {name}"
            path = path.rpartition("/")[0]
        return rows.index(path)

    described = [name for name in MODULES if name != "__init__"]
    assert {row_of(name) for name in described} == set(range(len(rows))), "a row for no module"
    wrong = [
        f"{name} stands above {imported}"
        for name in described
        for imported in own_imports(name)
        if row_of(imported) > row_of(name)
    ]
    assert not wrong


def test_only_the_s3_store_imports_boto3() -> None:
    """boto3 is behind the store contract: only modules of ``stores.s3`` import it."""
    importing = {
        ".".join(name.split(".")[:2])
        for name, tree in MODULES.items()
        for imported in imports(tree, at_run_time=True)
        if imported.partition(".")[0] in ("boto3", "botocore", "s3transfer")
    }
    assert importing == {"stores.s3"}


def test_importing_has_no_effect() -> None:
    """Importing loads no boto3, starts no thread, registers no codec, reads no variable of ours."""
    script = """
        import os, sys, threading

        class Watched(dict):
            read = []
            def __getitem__(self, name):
                self.read.append(name)
                return super().__getitem__(name)
            def __contains__(self, name):
                self.read.append(name)
                return super().__contains__(name)
            def get(self, name, default=None):
                self.read.append(name)
                return super().get(name, default)

        os.environ = Watched(os.environ)
        import faust_s3
        from faust.serializers import codecs

        assert not {"boto3", "botocore", "obstore"} & set(sys.modules), "boto3"
        assert [thread.name for thread in threading.enumerate()] == ["MainThread"], "threads"
        assert "s3" not in codecs.codecs, "codec"
        ours = [name for name in Watched.read if name.startswith(("FAUST_S3", "AWS"))]
        assert not ours, ours
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
