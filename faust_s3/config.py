"""Settings: one frozen object, validated once.

They come from keywords, from the environment and from a file, in this order: what the
code says stands, the environment fills in what it leaves open, then the file, then the
defaults. (Faust's own settings let the environment win; here two ``S3`` objects in one
process would then share one bucket.)
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypedDict, get_type_hints

from faust_s3.compression import COMPRESSIONS
from faust_s3.exceptions import ClaimError, ConfigError
from faust_s3.keys import DEFAULT_TEMPLATE, KeyTemplate
from faust_s3.places import Prefix, check_endpoint
from faust_s3.policy import OnBadClaim, check_on_bad_claim
from faust_s3.values import BY_TYPE, GIB, KIB, MIB

__all__ = ["ENV_PREFIX", "Config", "Prefix", "Settings", "load_config"]

ENV_PREFIX: Final = "FAUST_S3_"

#: What a claim check costs is a round trip to the store, tens of milliseconds; below this
#: size Kafka carries a record more cheaply, and four of them still fit one request.
DEFAULT_THRESHOLD: Final = 256 * KIB
#: A record is held whole in memory by producer and consumer.
DEFAULT_MAX_PAYLOAD: Final = 1 * GIB
#: Enough to hide 30 ms of latency behind an agent that takes 1 ms per record.
DEFAULT_PREFETCH: Final = 32
#: Memory per stream; with it a worker of a few agents stays small.
DEFAULT_PREFETCH_BYTES: Final = 64 * MIB
#: Enough to keep all requests busy, and as much again that waits in line behind a slow one.
DEFAULT_SEND_WINDOW: Final = 64
#: Memory per worker for what agents sent and the store does not have yet.
DEFAULT_SEND_WINDOW_BYTES: Final = 64 * MIB
#: Requests in flight per worker. boto3 spends about 1 ms of CPU on each, so that 32 keep a
#: core busy up to 30 ms of latency, and more threads only fight for the interpreter lock.
DEFAULT_CONCURRENCY: Final = 32
#: Several agents on one topic read the same payloads at almost the same time.
DEFAULT_CACHE_BYTES: Final = 16 * MIB
#: Bursts of one payload. An object is that much older than its last claim, at most: nothing
#: beside lifecycle rules, which count days, and little if somebody removes objects by hand.
DEFAULT_DEDUP_WINDOW: Final = 60.0
#: For senders outside agents: longer than a hiccup, shorter than a caller's own patience.
DEFAULT_SEND_TIMEOUT: Final = 60.0
DEFAULT_CONNECT_TIMEOUT: Final = 5.0
#: Silence on a connection, not the length of a transfer.
DEFAULT_READ_TIMEOUT: Final = 30.0
#: One request with its whole body: 8 MiB at 140 kB/s.
DEFAULT_REQUEST_TIMEOUT: Final = 60.0
#: A hiccup is over at once; in an outage each waiting record asks every few seconds.
DEFAULT_RETRY_BASE: Final = 0.1
DEFAULT_RETRY_CAP: Final = 5.0

_SSE: Final = ("AES256", "aws:kms")
#: The first is the default: nobody's topic has large records that did not ask for them.
_FALLBACKS: Final = ("raise", "inline")
_ENGINES: Final = ("boto3", "obstore")


class Settings(TypedDict, total=False):
    """Keywords of ``S3(...)``: each a field of :class:`Config`, sizes also as ``"256KiB"``."""

    threshold: int | str
    compression: str | None
    key_template: str
    allow: tuple[str, ...] | list[str] | str
    max_payload: int | str
    on_bad_claim: OnBadClaim
    dead_letter_topic: str
    prefetch: int
    prefetch_bytes: int | str
    send_window: int
    send_window_bytes: int | str
    cache_bytes: int | str
    dedup_window: float
    concurrency: int
    min_concurrency: int | None
    send_timeout: float
    fallback: str
    connect_timeout: float
    read_timeout: float
    request_timeout: float
    retry_base: float
    retry_cap: float
    check_on_start: bool
    engine: str
    region: str
    profile: str
    endpoint_url: str
    path_style: bool
    sse: str
    sse_kms_key_id: str
    mend_rebalances: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be set. Sizes are bytes, times are seconds.

    Text is read as from the environment: ``"256KiB"`` is a size. Credentials are not here:
    they come from boto3's own chain.

    Attributes:
        url: ``s3://bucket/prefix``, where payloads go. With ``engine="obstore"`` it may also be
            ``gs://``, ``az://``, ``file://`` or ``memory://``.
        threshold: Payloads larger than this many bytes go to the store.
        compression: ``"zstd"`` or ``"gzip"``: how larger payloads are compressed first. Default:
            not at all, since photos, films and archives are compressed already.
        key_template: Object key below the prefix, see ``docs/object-keys.md``.
        allow: More ``s3://bucket/prefix`` that claims may name; others are refused.
        max_payload: The most bytes of a payload, sent or received.
        on_bad_claim: What becomes of a record whose claim can never be redeemed:
            ``"raise"`` crashes the worker with its offset uncommitted, ``"skip"`` logs
            and acknowledges it, ``"dead_letter"`` puts it on a topic and acknowledges it;
            or a function that decides, see ``docs/dead-letters.md``.
        dead_letter_topic: Topic for dead letters. Default: ``<app id>-dead-letters``, since
            whoever may write the topics that Faust names after the app may then write this
            one, and two apps do not replay each other's.
        prefetch: Downloads that may run ahead of a stream.
        prefetch_bytes: Bytes of payload that may run ahead of a stream.
        send_window: Messages that agents may have under way before sending another one waits.
        send_window_bytes: Their bytes. One message is always allowed.
        cache_bytes: Bytes of payload kept for other agents on the same topic; 0: none.
        dedup_window: How long a payload that this process stored is not stored again in the
            same place, by default on the same day for the same topic; 0: always stored.
        concurrency: Requests in flight, and threads, per process; with ``min_concurrency`` the
            most.
        min_concurrency: The fewest requests in flight: between this and ``concurrency`` their
            number finds its own level, see ``docs/concurrency.md``. Default: ``concurrency``,
            so that it is fixed.
        send_timeout: How long a sender outside an agent waits for the store; see ``fallback``.
        fallback: What becomes of a value when the store has been away for ``send_timeout``:
            ``"raise"`` has senders outside agents get ``StoreUnavailable`` and agents wait,
            ``"inline"`` sends it to Kafka as it is, if the record is within
            ``producer_max_request_size``.
        connect_timeout: For a connection to the store.
        read_timeout: For the store's next bytes.
        request_timeout: For one request with its body.
        retry_base: Upper bound of the first pause between tries.
        retry_cap: Upper bound of every pause between tries.
        check_on_start: Whether a worker asks the store for its permissions before it starts.
        engine: What makes the requests, ``"boto3"`` or ``"obstore"``, see ``docs/engines.md``.
        region: AWS region. Default: boto3's own.
        profile: Profile in the AWS configuration files; it may assume a role.
        endpoint_url: Another server than AWS.
        path_style: ``host/bucket/key`` instead of ``bucket.host/key``.
        sse: Server-side encryption, ``"AES256"`` or ``"aws:kms"``. Default: the bucket's.
        sse_kms_key_id: KMS key for ``sse="aws:kms"``. Default: the bucket's.
        mend_rebalances: Work around what Faust loses there, see ``docs/reliability.md``.
    """

    url: str
    threshold: int = DEFAULT_THRESHOLD
    compression: str | None = None
    key_template: str = DEFAULT_TEMPLATE
    allow: tuple[str, ...] = ()
    max_payload: int = DEFAULT_MAX_PAYLOAD
    on_bad_claim: OnBadClaim = "raise"
    dead_letter_topic: str | None = None
    prefetch: int = DEFAULT_PREFETCH
    prefetch_bytes: int = DEFAULT_PREFETCH_BYTES
    send_window: int = DEFAULT_SEND_WINDOW
    send_window_bytes: int = DEFAULT_SEND_WINDOW_BYTES
    cache_bytes: int = DEFAULT_CACHE_BYTES
    dedup_window: float = DEFAULT_DEDUP_WINDOW
    concurrency: int = DEFAULT_CONCURRENCY
    min_concurrency: int | None = None
    send_timeout: float = DEFAULT_SEND_TIMEOUT
    fallback: str = "raise"
    connect_timeout: float = DEFAULT_CONNECT_TIMEOUT
    read_timeout: float = DEFAULT_READ_TIMEOUT
    request_timeout: float = DEFAULT_REQUEST_TIMEOUT
    retry_base: float = DEFAULT_RETRY_BASE
    retry_cap: float = DEFAULT_RETRY_CAP
    check_on_start: bool = True
    engine: str = "boto3"
    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    path_style: bool = False
    sse: str | None = None
    sse_kms_key_id: str | None = None
    mend_rebalances: bool = True

    home: Prefix = field(init=False, repr=False)
    keys: KeyTemplate = field(init=False, repr=False)
    trusted: tuple[Prefix, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, convert in _CONVERTERS.items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, convert(value))
            except ValueError as exc:
                raise ConfigError(f"{name} {value!r} {exc}") from None
        windows = ("prefetch", "prefetch_bytes", "send_window", "send_window_bytes")
        for name in (*windows, "concurrency", "max_payload"):
            self._require(name, getattr(self, name) >= 1, "must be at least 1")
        fewest = self.min_concurrency
        self._require(
            "min_concurrency",
            fewest is None or 1 <= fewest <= self.concurrency,
            f"must be from 1 to concurrency, {self.concurrency}",
        )
        for name in ("threshold", "cache_bytes"):
            self._require(name, getattr(self, name) >= 0, "must not be negative")
        for setting in fields(self):
            if setting.type == "float" and setting.name != "dedup_window":
                value = getattr(self, setting.name)
                self._require(setting.name, 0 < value < float("inf"), "must be positive seconds")
        self._require(
            "dedup_window", 0 <= self.dedup_window < float("inf"), "must be seconds, or 0"
        )
        check_on_bad_claim(self.on_bad_claim)
        topic = self.dead_letter_topic
        self._require(
            "dead_letter_topic",
            topic is None or bool(re.fullmatch(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}", topic)),
            "must have 1 to 249 letters, digits, '.', '-' and '_', as Kafka's topics",
        )
        self._require(
            "max_payload", self.max_payload >= self.threshold, "must not be below threshold"
        )
        self._require(
            "retry_cap", self.retry_cap >= self.retry_base, "must not be below retry_base"
        )
        names = ", ".join(COMPRESSIONS)
        self._require(
            "compression", self.compression in (None, *COMPRESSIONS), f"must be one of {names}"
        )
        self._require(
            "fallback", self.fallback in _FALLBACKS, f"must be one of {', '.join(_FALLBACKS)}"
        )
        self._require(
            "sse", self.sse is None or self.sse in _SSE, f"must be one of {', '.join(_SSE)}"
        )
        self._require(
            "sse_kms_key_id",
            self.sse_kms_key_id is None or self.sse == "aws:kms",
            "needs sse='aws:kms'",
        )
        if self.endpoint_url is not None:
            check_endpoint("endpoint_url", self.endpoint_url)
        self._require("engine", self.engine in _ENGINES, f"must be one of {', '.join(_ENGINES)}")
        home = Prefix.parse("url", self.url)
        self._require(
            "url", home.scheme == "s3" or self.engine == "obstore", "needs engine='obstore'"
        )
        object.__setattr__(self, "home", home)
        object.__setattr__(self, "keys", KeyTemplate(home.prefix, self.key_template))
        others = [Prefix.parse("allow", url) for url in self.allow]
        self._require(
            "allow",
            all((other.scheme, other.root) == (home.scheme, home.root) for other in others),
            f"must lie where url {self.url!r} does: claims name bucket and key, nothing else",
        )
        object.__setattr__(self, "trusted", (home, *others))

    def _require(self, name: str, fulfilled: bool, rule: str) -> None:
        if not fulfilled:
            raise ConfigError(f"{name} {getattr(self, name)!r} {rule}")

    def check_trusted(self, bucket: str, key: str) -> None:
        """Refuse a claim for a place that is neither ours nor allowed.

        Raises:
            ClaimError: Naming the place and what is allowed.
        """
        directions = {".", ".."}.intersection(key.split("/"))  # some servers resolve them
        if directions or not any(prefix.holds(bucket, key) for prefix in self.trusted):
            allowed = ", ".join(map(str, self.trusted))
            raise ClaimError(f"the claim names a place outside {allowed}", bucket=bucket, key=key)


def load_config(
    url: str | None = None,
    settings: Settings | None = None,
    *,
    file: str | Path | None = None,
    environ: Mapping[str, str] = MappingProxyType(os.environ),
    env_prefix: str = ENV_PREFIX,
) -> Config:
    """Gather settings from keywords, environment and file.

    Args:
        url: Keyword ``url``.
        settings: The other keywords.
        file: YAML or JSON file of settings. Default: ``<env_prefix>CONFIG``, if set.
        environ: The environment.
        env_prefix: What its variables start with; the rest is a field's name in capitals.

    Raises:
        ConfigError: If a setting is unknown or wrong, or ``url`` is nowhere.
    """
    given: dict[str, Any] = dict(settings or {})
    if url is not None:
        given["url"] = url
    variables: dict[str, Any] = {
        name: environ[variable]
        for name in _CONVERTERS
        if (variable := f"{env_prefix}{name.upper()}") in environ
    }
    file = file if file is not None else environ.get(f"{env_prefix}CONFIG")
    values = {**(_read_file(Path(file)) if file is not None else {}), **variables, **given}
    if unknown := sorted(values.keys() - _CONVERTERS.keys()):
        raise ConfigError(
            f"setting {unknown[0]!r} is unknown; there are {', '.join(sorted(_CONVERTERS))}"
        )
    if "url" not in values:
        raise ConfigError(f"url is not set: pass it (s3://bucket/prefix) or set {env_prefix}URL")
    return Config(**values)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"config file {str(path)!r} cannot be read: {exc}") from exc
    try:
        is_yaml = path.suffix in (".yaml", ".yml")
        values = _load_yaml(path, text) if is_yaml else json.loads(text)
    except ValueError as exc:
        raise ConfigError(f"config file {str(path)!r} is not valid: {exc}") from exc
    if not isinstance(values, dict):
        raise ConfigError(f"config file {str(path)!r} must hold a mapping of settings")
    return {str(name): value for name, value in values.items() if value is not None}


def _load_yaml(path: Path, text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise ConfigError(
            f"config file {str(path)!r} is YAML: pip install 'faust-s3[yaml]', or use JSON"
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ValueError(" ".join(str(exc).split())) from exc


_BY_TYPE: Final[Mapping[Any, Callable[[Any], Any]]] = {
    **BY_TYPE,
    OnBadClaim: lambda value: value,  # text from everywhere, a function only from the code
}

_CONVERTERS: Final = {
    setting.name: _BY_TYPE[get_type_hints(Config)[setting.name]]
    for setting in fields(Config)
    if setting.init
}
