"""Settings: where they come from, what they may be, and what is said when they are not."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faust_s3.config import Config, Prefix, Settings, load_config
from faust_s3.exceptions import ClaimError, ConfigError
from faust_s3.policy import OnBadClaim

URL = "s3://my-bucket/photos"

#: For every field: what the environment says, and what it means.
FROM_ENVIRONMENT: dict[str, tuple[str, Any]] = {
    "url": ("s3://other/prefix", "s3://other/prefix"),
    "threshold": ("512KiB", 512 * 1024),
    "compression": ("gzip", "gzip"),
    "key_template": ("{topic}/{uuid}", "{topic}/{uuid}"),
    "allow": ("s3://a, s3://b/c", ("s3://a", "s3://b/c")),
    "max_payload": ("2GiB", 2 * 1024**3),
    "on_bad_claim": ("skip", "skip"),
    "dead_letter_topic": ("photos-dead", "photos-dead"),
    "prefetch": ("7", 7),
    "prefetch_bytes": ("1MB", 10**6),
    "send_window": ("5", 5),
    "send_window_bytes": ("2MB", 2 * 10**6),
    "cache_bytes": ("0", 0),
    "dedup_window": ("0", 0.0),
    "concurrency": ("9", 9),
    "min_concurrency": ("3", 3),
    "send_timeout": ("1.5", 1.5),
    "fallback": ("inline", "inline"),
    "connect_timeout": ("2", 2.0),
    "read_timeout": ("3", 3.0),
    "request_timeout": ("4", 4.0),
    "retry_base": ("0.25", 0.25),
    "retry_cap": ("6", 6.0),
    "check_on_start": ("no", False),
    "engine": ("obstore", "obstore"),
    "region": ("eu-central-1", "eu-central-1"),
    "profile": ("staging", "staging"),
    "endpoint_url": ("http://localhost:8333", "http://localhost:8333"),
    "path_style": ("yes", True),
    "sse": ("AES256", "AES256"),
    "sse_kms_key_id": ("alias/photos", "alias/photos"),
    "mend_rebalances": ("off", False),
}


def load(url: str | None = URL, **keywords: Any) -> Config:
    """Load settings from keywords only."""
    return load_config(url, keywords, environ={})


def fields_of_config() -> set[str]:
    return {field.name for field in dataclasses.fields(Config) if field.init}


# -- where settings come from


def test_every_field_is_tested() -> None:
    """A new setting is added to the table above."""
    assert set(FROM_ENVIRONMENT) == fields_of_config()


def test_every_field_is_a_keyword() -> None:
    """The typed keywords of ``S3`` are the fields, but for ``url``."""
    assert set(get_type_hints(Settings)) == fields_of_config() - {"url"}


@pytest.mark.parametrize("name", FROM_ENVIRONMENT)
def test_environment(name: str) -> None:
    """Every field can be set from the environment."""
    text, value = FROM_ENVIRONMENT[name]
    environ = {"FAUST_S3_URL": URL, f"FAUST_S3_{name.upper()}": text}
    if name == "sse_kms_key_id":
        environ["FAUST_S3_SSE"] = "aws:kms"
    assert getattr(load_config(environ=environ), name) == value


def test_environment_of_another_store() -> None:
    """A second store has variables of its own."""
    environ = {"FAUST_S3_URL": URL, "ARCHIVE_URL": "s3://archive"}
    assert load_config(environ=environ, env_prefix="ARCHIVE_").url == "s3://archive"


def test_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without another mapping, the environment of the process counts, as it is then."""
    monkeypatch.setenv("FAUST_S3_URL", "s3://from-the-process")
    assert load_config().url == "s3://from-the-process"


def test_other_variables_are_not_ours() -> None:
    """A variable that is no setting is left alone: the prefix may be shared."""
    assert load_config(URL, environ={"FAUST_S3_TEST_BROKER": "kafka"}) == Config(url=URL)


@pytest.mark.parametrize(
    ("sources", "prefetch"),
    [
        (("keyword", "environment", "file"), 1),
        (("environment", "file"), 2),
        (("keyword", "file"), 1),
        (("file",), 3),
        ((), Config(url=URL).prefetch),
    ],
)
def test_precedence(sources: tuple[str, ...], prefetch: int, tmp_path: Path) -> None:
    """Keyword before environment before file before default."""
    path = tmp_path / "s3.json"
    path.write_text(json.dumps({"prefetch": 3} if "file" in sources else {}))
    config = load_config(
        URL,
        {"prefetch": 1} if "keyword" in sources else {},
        file=path,
        environ={"FAUST_S3_PREFETCH": "2"} if "environment" in sources else {},
    )
    assert config.prefetch == prefetch


def test_url_has_the_same_precedence() -> None:
    """The URL that the code gives stands, whatever the environment says."""
    assert load_config(URL, environ={"FAUST_S3_URL": "s3://other"}).url == URL


def test_missing_url() -> None:
    """Without a URL, the error says how to give one."""
    with pytest.raises(ConfigError) as caught:
        load(None)
    assert str(caught.value) == "url is not set: pass it (s3://bucket/prefix) or set FAUST_S3_URL"


def test_missing_url_of_another_store() -> None:
    """The error names the variable that is read."""
    with pytest.raises(ConfigError, match="set ARCHIVE_URL"):
        load_config(environ={}, env_prefix="ARCHIVE_")


# -- files


def test_json_file(tmp_path: Path) -> None:
    """Settings may stand in a JSON file, sizes with units."""
    path = tmp_path / "s3.json"
    path.write_text(json.dumps({"url": URL, "threshold": "1MiB", "allow": ["s3://a"]}))
    assert load_config(file=path, environ={}) == Config(url=URL, threshold=2**20, allow=("s3://a",))


@pytest.mark.parametrize("suffix", ["yaml", "yml"])
def test_yaml_file(tmp_path: Path, suffix: str) -> None:
    """Settings may stand in a YAML file."""
    pytest.importorskip("yaml")
    path = tmp_path / f"s3.{suffix}"
    path.write_text(f"url: {URL}\nthreshold: 1MiB\npath_style: true\nallow:\n  - s3://a\n")
    assert load_config(file=path, environ={}) == Config(
        url=URL, threshold=2**20, path_style=True, allow=("s3://a",)
    )


def test_file_from_environment(tmp_path: Path) -> None:
    """The environment may name the file."""
    path = tmp_path / "s3.json"
    path.write_text(json.dumps({"url": URL}))
    assert load_config(environ={"FAUST_S3_CONFIG": str(path)}).url == URL


def test_nothing_in_a_file(tmp_path: Path) -> None:
    """A field that a file leaves empty has its default."""
    path = tmp_path / "s3.json"
    path.write_text(json.dumps({"url": URL, "region": None, "prefetch": None}))
    assert load_config(file=path, environ={}) == Config(url=URL)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.json", None, "cannot be read"),
        ("latin.json", b'{"url": "\xfc"}', "cannot be read"),
        ("cut.json", b'{"url": ', "is not valid"),
        ("cut.yaml", b"url: [", "is not valid"),
        ("list.json", b'["url"]', "must hold a mapping"),
        ("text.yaml", b"url", "must hold a mapping"),
        ("empty.yaml", b"", "must hold a mapping"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    """A file that is none is an error that names it, in one line."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(file=path, environ={})
    assert says in str(caught.value)
    assert repr(str(path)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_setting_in_a_file(tmp_path: Path) -> None:
    """A misspelt setting in a file is an error, not ignored."""
    path = tmp_path / "s3.json"
    path.write_text(json.dumps({"url": URL, "treshold": 1}))
    with pytest.raises(ConfigError, match=r"'treshold' is unknown; there are .*threshold"):
        load_config(file=path, environ={})


def test_yaml_without_pyyaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyYAML, the error says what to install."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    path = tmp_path / "s3.yaml"
    path.write_text(f"url: {URL}")
    with pytest.raises(ConfigError, match=re.escape("pip install 'faust-s3[yaml]'")):
        load_config(file=path, environ={})


# -- values


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1", 1),
        ("1B", 1),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("1kib", 1024),
        ("3MB", 3 * 10**6),
        ("3 MiB", 3 * 2**20),
        (" 1GB ", 10**9),
        ("1GiB", 2**30),
    ],
)
def test_sizes(text: str, size: int) -> None:
    """Sizes may have units: powers of 1000, or with an i of 1024."""
    assert load(threshold=text, max_payload="10GiB").threshold == size


@given(st.integers(0, 2**30))
def test_numbers_are_sizes(size: int) -> None:
    """A number is bytes, written as a number or as text."""
    assert load(threshold=size).threshold == load(threshold=str(size)).threshold == size


@pytest.mark.parametrize("word", ["true", "YES", "on", "1", True])
def test_true(word: str | bool) -> None:
    """The usual words mean yes."""
    assert load(path_style=word).path_style is True


@pytest.mark.parametrize("word", ["false", "NO", "off", "0", False])
def test_false(word: str | bool) -> None:
    """The usual words mean no."""
    assert load(path_style=word).path_style is False


@pytest.mark.parametrize(
    "allow", ["s3://a,s3://b", "s3://a s3://b", ["s3://a", "s3://b"], ("s3://a", "s3://b")]
)
def test_lists(allow: Any) -> None:
    """Several places may be a list, or text between commas or blanks."""
    assert load(allow=allow).allow == ("s3://a", "s3://b")


BAD: list[tuple[str, Any, str]] = [
    ("threshold", -1, "threshold -1 must not be negative"),
    ("threshold", "", "threshold '' must be a whole number, or a size such as 256KiB"),
    ("threshold", "-1", "threshold '-1' must be a whole number, or a size such as 256KiB"),
    ("threshold", "1.5MB", "threshold '1.5MB' must be a whole number, or a size such as 256KiB"),
    ("threshold", "1TiB", "threshold '1TiB' must be a whole number, or a size such as 256KiB"),
    ("threshold", 1.5, "threshold 1.5 must be a whole number"),
    ("threshold", True, "threshold True must be a whole number"),
    ("threshold", None, "threshold None must be a whole number"),
    ("cache_bytes", -1, "cache_bytes -1 must not be negative"),
    ("max_payload", 0, "max_payload 0 must be at least 1"),
    ("max_payload", 1, "max_payload 1 must not be below threshold"),
    ("prefetch", 0, "prefetch 0 must be at least 1"),
    ("prefetch_bytes", 0, "prefetch_bytes 0 must be at least 1"),
    ("concurrency", 0, "concurrency 0 must be at least 1"),
    ("concurrency", "many", "concurrency 'many' must be a whole number, or a size such as 256KiB"),
    ("min_concurrency", 0, "min_concurrency 0 must be from 1 to concurrency, 32"),
    ("min_concurrency", 33, "min_concurrency 33 must be from 1 to concurrency, 32"),
    (
        "min_concurrency",
        "few",
        "min_concurrency 'few' must be a whole number, or a size such as 256KiB",
    ),
    ("send_timeout", 0, "send_timeout 0.0 must be positive seconds"),
    ("send_timeout", "soon", "send_timeout 'soon' must be a number of seconds"),
    ("send_timeout", None, "send_timeout None must be a number of seconds"),
    ("dedup_window", -1, "dedup_window -1.0 must be seconds, or 0"),
    ("dedup_window", "inf", "dedup_window inf must be seconds, or 0"),
    ("connect_timeout", -1, "connect_timeout -1.0 must be positive seconds"),
    ("read_timeout", "inf", "read_timeout inf must be positive seconds"),
    ("request_timeout", "nan", "request_timeout nan must be positive seconds"),
    ("retry_base", 0, "retry_base 0.0 must be positive seconds"),
    ("retry_cap", 0.01, "retry_cap 0.01 must not be below retry_base"),
    ("path_style", "maybe", "path_style 'maybe' must be true or false"),
    ("path_style", 1, "path_style 1 must be true or false"),
    (
        "on_bad_claim",
        "ignore",
        "on_bad_claim 'ignore' must be one of raise, skip, dead_letter, or a function",
    ),
    *(
        (
            "dead_letter_topic",
            topic,
            f"dead_letter_topic {topic!r} must have 1 to 249 letters, digits, '.', '-' and '_', "
            "as Kafka's topics",
        )
        for topic in ("", ".", "..", "dead letters", "x" * 250)
    ),
    ("dead_letter_topic", 7, "dead_letter_topic 7 must be text"),
    ("compression", "lzma", "compression 'lzma' must be one of zstd, gzip"),
    ("compression", "", "compression '' must be one of zstd, gzip"),
    ("engine", "curl", "engine 'curl' must be one of boto3, obstore"),
    ("url", "gs://bucket", "url 'gs://bucket' needs engine='obstore'"),
    ("url", "file:///srv/payloads", "url 'file:///srv/payloads' needs engine='obstore'"),
    (
        "allow",
        ["gs://bucket"],
        "allow ('gs://bucket',) must lie where url 's3://my-bucket/photos' does: "
        "claims name bucket and key, nothing else",
    ),
    ("sse", "rot13", "sse 'rot13' must be one of AES256, aws:kms"),
    ("sse_kms_key_id", "alias/a", "sse_kms_key_id 'alias/a' needs sse='aws:kms'"),
    ("region", 1, "region 1 must be text"),
    *(
        ("endpoint_url", url, f"endpoint_url {url!r} must be like https://host:port")
        for url in (
            *("", "localhost:9000", "s3.example.org", "ftp://host", "http://", "http://:9000"),
            *("http://host:port", "http://host:99999", "http://[::1", "http://two words"),
        )
    ),
    *(
        (
            "endpoint_url",
            url,
            "endpoint_url must have no credentials: they come from boto3's own chain",
        )
        for url in ("http://key:secret@host", "http://key:secret@[::1")
    ),
    ("url", 1, "url 1 must be text"),
    ("url", "", "url '' must be like s3://bucket/prefix"),
    ("url", "my-bucket", "url 'my-bucket' must be like s3://bucket/prefix"),
    ("url", "https://my-bucket", "url 'https://my-bucket' must be like s3://bucket/prefix"),
    ("url", "s3://", "url 's3://' must be like s3://bucket/prefix"),
    ("url", "s3:///prefix", "url 's3:///prefix' must be like s3://bucket/prefix"),
    ("allow", "bucket", "allow 'bucket' must be like s3://bucket/prefix"),
    ("allow", ["s3://"], "allow 's3://' must be like s3://bucket/prefix"),
]


@pytest.mark.parametrize("make", [load, Config])
@pytest.mark.parametrize(("name", "value", "says"), BAD)
def test_bad_values(make: Callable[..., Config], name: str, value: Any, says: str) -> None:
    """A wrong value is one sentence that names field, value and rule."""
    with pytest.raises(ConfigError) as caught:
        make(**{"url": URL, name: value})
    assert str(caught.value) == says


#: For every type: what is of another.
OF_ANOTHER_TYPE: dict[Any, list[Any]] = {
    int: [None, True, 1.0, math.nan, b"1", [1]],
    float: [None, True, 10**400, b"?", [1.0]],
    bool: [None, 1, 0.0, b"yes", []],
    str: [None, 1, b"text", Path("path"), ["text"]],
    int | None: [True, 1.0, math.nan, b"1", [1]],
    str | None: [True, 1, b"text", Path("path"), ["text"]],
    tuple[str, ...]: [None, 1, b"s3://a", ["s3://a", None], {"s3://a": "s3://b"}],
    OnBadClaim: [None, 1, b"skip", ["skip"], {"skip"}],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name, kind in get_type_hints(Config).items()
        if name in FROM_ENVIRONMENT
        for value in OF_ANOTHER_TYPE[kind]
    ],
)
def test_values_of_another_type(name: str, value: Any) -> None:
    """The same sentence for what cannot even be compared."""
    with pytest.raises(ConfigError) as caught:
        Config(**{"url": URL, name: value})
    assert str(caught.value).startswith(f"{name} {value!r} must be ")


@pytest.mark.parametrize(
    ("name", "value", "fragments"),
    [
        ("url", "s3://bad bucket", ["'bad bucket'", "bucket names have letters"]),
        ("url", "s3://-b", ["'-b'", "start with a letter or digit"]),
        ("url", "s3://bucket/a//b", ["prefix", "'a//b'", "single slashes"]),
        ("url", "s3://bucket/../b", ["prefix", "'../b'", "single slashes"]),
        ("url", "s3://bucket/\t", ["prefix", r"'\t'", "printable characters"]),
        ("allow", "s3://bucket/a//b", ["prefix", "'a//b'", "single slashes"]),
        ("key_template", "{topic}", ["'{topic}'", "must have {digest} or {uuid}"]),
        ("key_template", "{digest}/{x}", ["{x}", "unknown field 'x'"]),
        ("key_template", "{topic}//{digest}", ["single slashes"]),
    ],
)
def test_bad_places(name: str, value: str, fragments: list[str]) -> None:
    """A wrong place is one sentence that names the field, its value, and what is wrong in it."""
    with pytest.raises(ConfigError) as caught:
        load(**{name: value})
    assert str(caught.value).startswith(f"{name} {value!r} ")
    assert all(fragment in str(caught.value) for fragment in fragments), caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("allow", [5, [5], None])
def test_allow_is_text(allow: Any) -> None:
    """What is no list of places is a ConfigError as well."""
    with pytest.raises(ConfigError, match="allow"):
        load(allow=allow)


@pytest.mark.parametrize("slash", ["", "/", "//"])
def test_slashes_at_the_end(slash: str) -> None:
    """A slash at the end of a URL means nothing."""
    assert load(f"{URL}{slash}").home == Prefix("my-bucket", "photos")


def test_a_url_without_prefix() -> None:
    """A bucket alone is a place."""
    assert load("s3://my-bucket").home == Prefix("my-bucket", "")


@pytest.mark.parametrize(
    ("threshold", "accepted"), [(2**20 - 1, True), (2**20, True), (2**20 + 1, False)]
)
def test_edges_of_the_cap(threshold: int, accepted: bool) -> None:
    """Every payload above the threshold could be too large, but not one below it."""
    if accepted:
        assert load(threshold=threshold, max_payload="1MiB").threshold == threshold
    else:
        with pytest.raises(ConfigError, match="max_payload"):
            load(threshold=threshold, max_payload="1MiB")


# -- trust


@pytest.mark.parametrize(
    ("url", "bucket", "key", "trusted"),
    [
        ("s3://b/photos", "b", "photos/x", True),
        ("s3://b/photos", "b", "photos/deep/er/x", True),
        ("s3://b/photos/", "b", "photos/x", True),
        ("s3://b/photos", "b", "photos-private/x", False),
        ("s3://b/photos", "b", "photosx", False),
        ("s3://b/photos", "b", "photos", False),
        ("s3://b/photos", "b", "Photos/x", False),
        ("s3://b/photos", "b", "other/photos/x", False),
        ("s3://b/photos", "b", "/photos/x", False),
        ("s3://b/photos", "c", "photos/x", False),
        ("s3://b/photos", "B", "photos/x", False),
        ("s3://b/a/b", "b", "a/x", False),
        ("s3://b", "b", "anything", True),
        ("s3://b", "bb", "anything", False),
    ],
)
def test_trust(url: str, bucket: str, key: str, trusted: bool) -> None:
    """A claim may name our bucket and prefix, compared by whole segments, and nothing else."""
    config = load(url)
    if trusted:
        config.check_trusted(bucket, key)
    else:
        with pytest.raises(ClaimError) as caught:
            config.check_trusted(bucket, key)
        assert (caught.value.bucket, caught.value.key) == (bucket, key)


@pytest.mark.parametrize("key", ["photos/../private/x", "photos/./x", "photos/.."])
def test_directions_are_not_trusted(key: str) -> None:
    """A key with segments that some server would resolve does not lie below the prefix."""
    with pytest.raises(ClaimError):
        load("s3://b/photos").check_trusted("b", key)


def test_allowed_places_are_trusted() -> None:
    """A claim may name what is allowed besides, by whole segments too."""
    config = load(allow=["s3://archive", "s3://other/a"])
    config.check_trusted("archive", "x")
    config.check_trusted("other", "a/x")
    with pytest.raises(ClaimError, match=r"outside s3://my-bucket/photos, s3://archive, s3://othe"):
        config.check_trusted("other", "ab/x")


# -- the object


def test_config_is_frozen() -> None:
    """Settings do not change."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        load().threshold = 1


def test_config_is_a_value() -> None:
    """Settings are equal by their values, and hashable."""
    assert len({load(allow=["s3://a"]), load(allow="s3://a"), load()}) == 2


@pytest.mark.parametrize("name", FROM_ENVIRONMENT)
def test_config_reads_text(name: str) -> None:
    """Made directly, settings may be text as well."""
    text, value = FROM_ENVIRONMENT[name]
    more = {"sse": "aws:kms"} if name == "sse_kms_key_id" else {}
    assert getattr(Config(**{"url": URL, **more, name: text}), name) == value


def test_config_is_replaceable() -> None:
    """A changed copy is checked, and its derived parts follow."""
    changed = dataclasses.replace(load(), url="s3://other/prefix")
    assert changed.home == changed.trusted[0] == Prefix("other", "prefix")
    assert changed.keys.prefix == "prefix"
    with pytest.raises(ConfigError):
        dataclasses.replace(load(), prefetch=0)


def test_config_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials are no settings: there is none to be shown."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "hunter3")
    assert not re.search(r"hunter|secret|token|password|access_key", repr(load_config(URL)))


def test_repr_shows_settings() -> None:
    """The representation shows what is set, and nothing derived."""
    shown = repr(load(threshold="1MiB"))
    assert f"url='{URL}'" in shown
    assert "threshold=1048576" in shown
    assert "home" not in shown


def test_prefix_is_shown_as_a_url() -> None:
    """A place is shown as it is written."""
    assert str(Prefix("b", "a/b")) == "s3://b/a/b"
    assert str(Prefix("b")) == "s3://b"
