"""Object keys: where in the bucket a payload lies. Grammar: ``docs/object-keys.md``.

Pure: no clock, no randomness; the caller passes both in.
"""

from __future__ import annotations

import re
import string
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from faust_s3.exceptions import ConfigError

__all__ = ["DEFAULT_TEMPLATE", "MAX_KEY_SIZE", "KeyTemplate", "check_path", "encode_segment"]

#: Readable, matched by lifecycle rules per topic, and the same for a retry on the same day.
DEFAULT_TEMPLATE: Final = "{topic}/{date}/{digest}"

#: For message keys: the same for the same key, for ever, as partition and compaction need.
_MESSAGE_KEY_TEMPLATE: Final = "{topic}/keys/{digest}"

#: Bytes of UTF-8 that S3 takes as an object key.
MAX_KEY_SIZE: Final = 1024

#: Characters of an encoded message key that ``{key}`` keeps: it is there to be read, and
#: ``{digest}`` or ``{uuid}`` tells objects apart.
_MAX_SEGMENT: Final = 128

_FIELDS: Final = frozenset({"topic", "partition", "key", "date", "digest", "uuid"})
#: RFC 3986, section 2.3.
_UNRESERVED: Final = frozenset((string.ascii_letters + string.digits + "-._~").encode())
#: Stands for what the sender does not know, such as the partition before Kafka chose it.
_UNKNOWN: Final = "-"


def encode_segment(value: bytes) -> str:
    """Percent-encode bytes as one segment of an object key (RFC 3986, section 2.1).

    Unreserved characters stand for themselves. ``.`` and ``..`` are encoded whole, since
    HTTP clients take them for directions, and nothing at all becomes ``%00``.
    """
    if not value:
        return "%00"
    if value in (b".", b".."):
        return "%2E" * len(value)
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in value)


def check_path(subject: str, path: str) -> None:
    """Refuse what cannot be a part of an object key.

    Args:
        subject: What the sentence of the error is about.
        path: The part.

    Raises:
        ConfigError: If it breaks the grammar.
    """
    if any(segment in ("", ".", "..") for segment in path.split("/")):
        raise ConfigError(
            f"{subject} must be segments between single slashes, none of them "
            "empty, '.' or '..', without a slash at either end"
        )
    if not path.isprintable():
        raise ConfigError(f"{subject} must have printable characters only")


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """Renders object keys as ``<prefix>/<template>``.

    Attributes:
        prefix: Fixed first part, without slashes at its ends; may be empty.
        template: Literal text and the fields ``{topic} {partition} {key} {date} {digest}
            {uuid}``, separated by ``/``.

    Raises:
        ConfigError: If either breaks the grammar, or nothing in the template tells two
            payloads apart.
    """

    prefix: str = ""
    template: str = DEFAULT_TEMPLATE

    def __post_init__(self) -> None:
        if self.prefix:
            check_path(f"prefix {self.prefix!r}", self.prefix)
        try:
            fields = {
                (name, spec, conversion)
                for _, name, spec, conversion in string.Formatter().parse(self.template)
                if name is not None
            }
        except ValueError as exc:
            raise ConfigError(f"key_template {self.template!r} cannot be read: {exc}") from None
        names = {name for name, _, _ in fields}
        if unknown := sorted(names - _FIELDS):
            raise ConfigError(
                f"key_template {self.template!r} has the unknown field {unknown[0]!r}; "
                f"it may have {', '.join(sorted(_FIELDS))}"
            )
        if any(spec or conversion for _, spec, conversion in fields):
            raise ConfigError(
                f"key_template {self.template!r} has a field with ':' or '!'; "
                "fields are plain, like {topic}"
            )
        if not names & {"digest", "uuid"}:
            raise ConfigError(
                f"key_template {self.template!r} must have {{digest}} or {{uuid}}: "
                "without one, payloads would overwrite each other"
            )
        path = self.template.format_map(dict.fromkeys(_FIELDS, "x"))
        check_path(f"key_template {self.template!r}", path)

    def render(
        self,
        *,
        topic: str | None,
        digest: str | None,
        now: datetime,
        uuid: str,
        partition: int | None = None,
        key: bytes | None = None,
        suffix: str = "",
    ) -> str:
        """Return the object key of a payload.

        Args:
            topic: Kafka topic; ``None`` where the sender does not know it (a bare codec).
            digest: SHA-256 of the payload, 64 lower-case hexadecimal digits; ``None`` where it
                is known only after the upload, and ``uuid`` takes its place.
            now: Time of the upload, in UTC; ``{date}`` becomes ``yyyy/mm/dd``.
            uuid: Random UUID, in its usual text form.
            partition: Kafka partition, if the sender chose one.
            key: Message key, as bytes, if there is one.
            suffix: What follows the path, if the payload is stored in an encoding.

        Raises:
            ConfigError: If the key has more than 1024 bytes.
        """
        return self._render(
            self.template,
            topic=_UNKNOWN if topic is None else encode_segment(topic.encode()),
            partition=_UNKNOWN if partition is None else str(partition),
            key=_UNKNOWN if key is None else _shorten(encode_segment(key[:_MAX_SEGMENT])),
            date=f"{now:%Y/%m/%d}",
            digest=_shorten_uuid(uuid) if digest is None else digest,
            uuid=uuid,
            suffix=suffix,
        )

    def render_message_key(self, *, topic: str | None, digest: str) -> str:
        """Return the object key of a message key: ``<prefix>/<topic>/keys/<digest>``."""
        segment = _UNKNOWN if topic is None else encode_segment(topic.encode())
        return self._render(_MESSAGE_KEY_TEMPLATE, topic=segment, digest=digest)

    def _render(self, template: str, suffix: str = "", **fields: str) -> str:
        path = template.format_map(fields) + suffix
        key = f"{self.prefix}/{path}" if self.prefix else path
        if (size := len(key.encode())) > MAX_KEY_SIZE:
            raise ConfigError(
                f"the object key that key_template {self.template!r} makes has {size} bytes; "
                f"S3 takes at most {MAX_KEY_SIZE}"
            )
        return key


def _shorten_uuid(uuid: str) -> str:
    # The claim has to carry it in full: base64url (RFC 4648, section 5) without padding.
    return urlsafe_b64encode(UUID(uuid).bytes).decode().rstrip("=")


def _shorten(segment: str) -> str:
    # Never in the middle of a %XX.
    return re.sub(r"%.?$", "", segment[:_MAX_SEGMENT])
