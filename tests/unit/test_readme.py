"""What README.md says, and where the documents point.

Its promises about behaviour have their tests beside the code that keeps them; here are its
examples, its tables and its numbers. ``tests/integration/test_promises.py`` runs the rest.
"""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import json
import re
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from functools import partial
from hashlib import sha256
from importlib.metadata import metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import faust
import pytest
from faust.serializers import codecs
from faust.transport.conductor import ConductorCompiler
from faust.types import TP
from worlds import (
    THRESHOLD,
    claim_in,
    connect,
    make_app,
    make_s3,
    message,
    producer_of,
    settle,
)

import faust_s3
from faust_s3 import S3, Config
from faust_s3.claim import is_envelope
from faust_s3.config import load_config
from faust_s3.stores import MemoryStore

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("examples/*/*.md")),
]


def section(title: str) -> str:
    """Return the text below a heading of the README."""
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    return str(text)


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def rows(text: str) -> list[list[str]]:
    """Return the cells of a table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = (re.split(r"(?<!\\)\|", line.replace("\\|", "\0")) for line in lines)
    table = [[cell.strip().replace("\0", "|") for cell in row[1:-1]] for row in cells]
    return table[2:]


def prose(text: str = README) -> str:
    return " ".join(text.split())


# -- examples


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The README's app, as a module, with a store in memory and no broker."""
    code, *_ = blocks("python")
    monkeypatch.setattr("faust_s3.extension.open_store", lambda *args: MemoryStore())
    monkeypatch.setattr("faust.app.base.venusian.attach", lambda *args, **kwargs: None)
    module = ModuleType("readme_example")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "README.md", "exec"), vars(module))
    return module


async def test_first_example(example: Any) -> None:
    """The app runs, and key and sizes are those that the README names below it."""
    connect(example.app)
    printed: asyncio.Queue[Any] = asyncio.Queue()
    example.print = lambda *args: printed.put_nowait(args)
    large, small = example.Photo("a", "x" * 3_000_000), example.Photo("b", "x" * 7_000)
    await example.photos.send(value=large)
    await example.photos.send(value=small)
    claim, inline = producer_of(example.app).values
    assert claim is not None
    assert inline == small.dumps(serializer="json")

    says = re.search(r"lies in S3 as `([^`]+)…`, and on the topic as (\d+) bytes", prose())
    assert says is not None
    assert len(claim) == int(says[2])
    shown = re.sub(r"\d{4}/\d\d/\d\d", r"\\d{4}/\\d\\d/\\d\\d", says[1])
    digest = sha256(large.dumps(serializer="json")).hexdigest()
    assert re.fullmatch(re.sub(r"[0-9a-f]{8}$", digest, shown), claim_in(claim).key)

    agent = example.thumbnails
    await agent.start()
    await settle()
    (channel,) = {actor.stream.channel for actor in agent._actors}
    assert (channel.policy.prefetch, channel.policy.on_bad_claim) == (32, "dead_letter")
    handle = ConductorCompiler().build(example.app.topics, TP("photos", 0), {channel})
    for offset, value in enumerate((claim, inline)):
        await handle(message(value, offset=offset))
    assert [await printed.get(), await printed.get()] == [("a", 3_000_000), ("b", 7_000)]
    agent.cancel()
    await agent.stop()


def test_codec_by_itself(example: Any) -> None:
    """The second example runs after the first, and writes what the topic would write."""
    _, code = blocks("python")
    scope = {"s3": example.s3}
    exec(compile(code, "README.md", "exec"), scope)
    codec: Any = scope["codec"]
    value = {"text": "x" * 300_000}
    written = codec.dumps(value)
    assert is_envelope(written)
    assert codec.loads(written) == value
    example.s3.blocking.close()
    asyncio.run(_same_bytes(example, value, written))


async def _same_bytes(example: Any, value: Any, written: bytes) -> None:
    connect(example.app)
    await example.photos.send(value=value)
    assert producer_of(example.app).values == [written]


#: The ways to opt in as the README lists them: the program around each, and what is sent.
WAYS = {
    'app.topic(..., value_serializer="json|s3")': ("topic = {}", "dict(value=text)"),
    'class Photo(faust.Record, serializer="json|s3")': (
        "{}: text: str\ntopic = app.topic('photos', value_type=Photo)",
        "dict(value=Photo(text))",
    ),
    'faust.App(..., value_serializer="json|s3")': (
        "app = {}\ns3 = make_s3(app)\ntopic = app.topic('photos')",
        "dict(value=text)",
    ),
    'codecs.get_codec("json") | s3.codec': (
        "topic = app.topic('photos', value_serializer={})",
        "dict(value=text)",
    ),
    "s3.offload(topic)": (
        "topic = app.topic('photos', value_serializer='raw')\ntopic = {}",
        "dict(value=text.encode())",
    ),
    "s3.offload(topic, keys=True)": (
        "topic = app.topic('photos')\ntopic = {}",
        "dict(key=text.encode(), value=None)",
    ),
}


@pytest.mark.parametrize("way", [row[0].strip("`") for row in rows(section("Opting in"))])
async def test_opting_in(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way that the README lists offloads what is large and nothing else, and reads both."""
    module: Any = ModuleType("readme_way")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    app = make_app()
    vars(module).update(faust=faust, codecs=codecs, make_s3=make_s3, app=app, s3=make_s3(app))
    program, what = WAYS[way]
    exec(program.format(way.replace("...", "'photos'")), vars(module))
    connect(module.app)
    for number, text in enumerate(("x" * THRESHOLD * 2, "x")):
        arguments = eval(what, vars(module), {"text": text})
        await module.topic.send(**arguments)
        sent = producer_of(module.app).sent[number]
        assert is_envelope(sent.key or sent.value) is (len(text) > THRESHOLD)
        event = await module.topic.decode(message(sent.value, key=sent.key), propagate=True)
        assert {"key": event.key, "value": event.value} == {"key": None, **arguments}


def test_every_way_to_opt_in() -> None:
    """None of them is gone from the README, or stands there untested."""
    assert [row[0].strip("`") for row in rows(section("Opting in"))] == list(WAYS)


async def test_only_topics_without_a_serializer_take_the_apps() -> None:
    """A topic of an app that opts in offloads, unless it or the table names another one."""
    app = make_app(value_serializer="json|s3")
    make_s3(app)
    connect(app)
    await app.topic("photos").send(value="x" * THRESHOLD)
    await app.topic("others", value_serializer="json").send(value="x" * THRESHOLD)
    await app.Table("table").changelog_topic.send(value="x" * THRESHOLD)
    assert [is_envelope(value) for value in producer_of(app).values] == [True, False, False]


async def test_several_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second store of an app has a name, variables and a place of its own."""
    (code,) = re.findall(r"`(S3\(app, url, name=[^`]+\))`", README)
    (serializer,) = re.findall(r"`(json\|\w+)`", section("Opting in"))
    monkeypatch.setenv("ARCHIVE_THRESHOLD", str(THRESHOLD))
    app = make_app()
    make_s3(app)
    scope = {"app": app, "url": "s3://archive", "S3": partial(S3, store=MemoryStore())}
    archive = eval(code, scope)
    assert archive.config == Config(url="s3://archive", threshold=THRESHOLD)
    connect(app)
    await app.topic("photos", value_serializer="json|s3").send(value="x" * THRESHOLD)
    await app.topic("photos", value_serializer=serializer).send(value="y" * THRESHOLD)
    buckets = [claim_in(value).bucket for value in producer_of(app).values]
    assert buckets == ["bucket", "archive"]


# -- settings and limits


def test_settings() -> None:
    """The table has every setting, in the order of ``Config``, with its default."""
    listed = {}
    for names, defaults, _ in rows(section("Settings")):
        settings = re.findall(r"`(\w+)`", names)
        values = re.findall(r"`([^`]+)`", defaults)
        assert len(values) in (0, len(settings)), "as many defaults as settings, or none"
        listed.update(dict(zip(settings, values or [None] * len(settings), strict=True)))
    fields = {field.name: field.default for field in dataclasses.fields(Config) if field.init}
    assert list(listed) == list(fields)
    given: Any = {name: value for name, value in listed.items() if value is not None}
    read = load_config("s3://bucket", given, environ={})
    for name, default in fields.items():
        if name in given:
            assert getattr(read, name) == default, name
        else:
            assert default in (None, (), False, dataclasses.MISSING), name


def test_numbers_in_sentences() -> None:
    """A default in brackets behind a setting's name is its default; so is the threshold."""
    numbers = dict(re.findall(r"`(\w+)`(?: \(|, )(\d+ (?:[KMG]iB|s))\b", prose()))
    assert numbers == {"threshold": "256 KiB", "max_payload": "1 GiB", "send_timeout": "60 s"}
    defaults = Config(url="s3://bucket")
    given: Any = {name: number.removesuffix(" s") for name, number in numbers.items()}
    assert load_config("s3://bucket", given, environ={}) == defaults


def test_values_that_are_named() -> None:
    """What the table offers for ``on_bad_claim``, ``fallback`` and ``sse`` can be set."""
    described = {row[0].strip("`"): row for row in rows(section("Settings"))}
    for policy in re.findall(r"`(\w+)`", " ".join(described["on_bad_claim"][1:])):
        assert Config(url="s3://bucket", on_bad_claim=policy).on_bad_claim == policy
    for word in re.findall(r"`(raise|inline)`", " ".join(described["fallback"][1:])):
        assert Config(url="s3://bucket", fallback=word).fallback == word
    kinds = re.findall(r"`([\w:]+)`", described["`sse`, `sse_kms_key_id`".strip("`")][2])
    assert len(kinds) == 2
    for kind in kinds:
        assert Config(url="s3://bucket", sse=kind).sse == kind


# -- permissions: which requests there are is recorded in tests/integration


def test_policy() -> None:
    """It is a policy for the bucket and prefix of the first example."""
    (text,) = blocks("json")
    policy = json.loads(text)
    objects, bucket = policy["Statement"]
    assert policy.keys() == {"Version", "Statement"}
    assert {statement["Effect"] for statement in policy["Statement"]} == {"Allow"}
    home = load_config(re.findall(r'S3\(app, "(s3://[^"]+)"\)', README)[0], environ={}).home
    assert objects["Resource"] == f"arn:aws:s3:::{home.bucket}/{home.prefix}/*"
    assert bucket["Resource"] == f"arn:aws:s3:::{home.bucket}"


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def calls_outside_of(name: str, tree: ast.AST) -> Iterator[str]:
    """Yield the attributes that code asks for, but for that in functions of a name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        if not (isinstance(node, FUNCTIONS) and node.name.lstrip("_") == name):
            yield from calls_outside_of(name, node)


def test_nothing_is_deleted() -> None:
    """Stores can delete, and nothing in the package asks them to."""
    for path in sorted(Path(faust_s3.__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        asked = [name for name in calls_outside_of("delete", tree) if name.startswith("delete")]
        assert not asked, path


# -- commands and links


def alternatives(title: str) -> list[str]:
    """Return what ``py3{10,11}`` stands for."""
    found = re.fullmatch(r"(.*)\{(.*)\}(.*)", title)
    return [f"{found[1]}{part}{found[3]}" for part in found[2].split(",")] if found else [title]


def test_commands() -> None:
    """Each environment of tox, extra and module that a document names is there."""
    tox = ConfigParser()
    tox.read(ROOT / "tox.ini")
    project = metadata("faust-s3")
    text = prose("\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS))
    environments = {
        name for names in re.findall(r"tox run -e ([\w,]+)", text) for name in names.split(",")
    }
    assert "quickstart" in environments
    declared = {name for title in tox.sections() for name in alternatives(title)}
    assert {f"testenv:{name}" for name in environments} <= declared
    assert set(re.findall(r"pip install (faust[\w-]+)", text)) == {project["Name"]}
    extras = set(re.findall(r"faust-s3\[(\w+)\]", text))
    assert extras == set(project.get_all("Provides-Extra") or ())
    (least,) = re.findall(r"Python (\d\.\d+) or newer", README)
    assert project["Requires-Python"] == f">={least}"
    for module in re.findall(r"python -m (faust_s3[\w.]*)", text):
        assert find_spec(f"{module}.__main__") is not None


def anchors(document: Path) -> set[str]:
    """Return what links may point to within a document, as GitHub names it."""
    text = re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links(document: Path) -> None:
    """Each link to a file or a heading of ours leads there, and so does each path in quotes."""
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        assert ROOT in (file, *file.parents), f"{target} is outside the repository"
        assert not anchor or anchor in anchors(file), target
    for path in re.findall(r"`((?:docs|tests|examples|benchmarks|faust_s3)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path
