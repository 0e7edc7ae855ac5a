"""Payloads in fewer bytes, and back: gzip (RFC 1952) and Zstandard (RFC 8878).

Synchronous; whoever runs on an event loop calls it in a thread. What is read is bounded while
it is read: no more than one byte beyond the size that is expected is ever made.
"""

from __future__ import annotations

import sys
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, Final

from faust_s3.claim import Encoding
from faust_s3.exceptions import ConfigError

__all__ = ["COMPRESSIONS", "SUFFIXES", "Broken", "Decoder", "check_library", "compress", "decoder"]

#: What the setting ``compression`` may be.
COMPRESSIONS: Final = {"zstd": Encoding.ZSTD, "gzip": Encoding.GZIP}
#: What object keys end with, as the names of files do.
SUFFIXES: Final = {Encoding.GZIP: "gz", Encoding.ZSTD: "zst"}

#: Both formats' own defaults: more gains a few per cent and takes several times as long.
_GZIP_LEVEL: Final = 6
_ZSTD_LEVEL: Final = 3
#: RFC 8878, section 3.1.1.1.2, recommends that decoders take windows of 8 MiB, and no
#: larger ones from whom they do not trust; writers stay below, ours with 2 MiB.
_ZSTD_WINDOW_LOG: Final = 23
#: zlib's number for gzip headers and a window of 32 KiB.
_GZIP_WBITS: Final = 31
#: Bytes that the libraries get, and return, at a time: they gather what they return in blocks,
#: and would hold all of it twice.
_STEP: Final = 2**20


class Broken(ValueError):
    """The stored bytes are not what the encoding says, or not of the size that is expected."""


def check_library(encoding: Encoding) -> None:
    """Refuse an encoding whose library is not there.

    Raises:
        ConfigError: Saying what to install.
    """
    if encoding is Encoding.ZSTD:
        _zstd()


def compress(payload: bytes, encoding: Encoding) -> bytes | None:
    """Return a payload in an encoding, or ``None`` if that has not fewer bytes.

    Raises:
        ConfigError: If the library is missing.
    """
    packer, stored = _packer(encoding, len(payload)), BytesIO()
    for piece in _steps(payload):
        stored.write(packer.compress(piece))
        if stored.tell() >= len(payload):
            return None
    stored.write(packer.flush())
    return stored.getvalue() if stored.tell() < len(payload) else None


def _packer(encoding: Encoding, size: int) -> Any:
    if encoding is Encoding.GZIP:
        return zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WBITS)  # no name, no time in it
    zstd = _zstd()
    options = {
        zstd.CompressionParameter.compression_level: _ZSTD_LEVEL,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    packer = zstd.ZstdCompressor(options=options)
    packer.set_pledged_input_size(size)  # it stands in the frame then
    return packer


def _steps(data: bytes) -> Iterator[memoryview]:
    with memoryview(data) as view:
        for at in range(0, len(data), _STEP):
            yield view[at : at + _STEP]


def decoder(encoding: Encoding, size: int) -> Decoder:
    """Return what makes a payload of stored bytes.

    Args:
        encoding: Of the stored bytes.
        size: Bytes of the payload: neither more nor less are accepted.

    Raises:
        ConfigError: If the library is missing.
    """
    kinds: dict[Encoding, Callable[[int], Decoder]] = {
        Encoding.IDENTITY: _Identity,
        Encoding.GZIP: _Gzip,
        Encoding.ZSTD: _Zstd,
    }
    return kinds[encoding](size)


class Decoder(ABC):
    """Makes a payload of stored bytes, piece by piece, and no more of it than there should be.

    Args:
        size: Bytes of the payload.
    """

    def __init__(self, size: int) -> None:
        self._missing = size
        self._fed: bytes | memoryview = b""

    def feed(self, stored: bytes | memoryview) -> None:
        """Give more stored bytes, after all before were taken."""
        self._fed = stored

    def take(self, most: int) -> bytes:
        """Return some bytes of the payload, none if more have to be fed.

        Args:
            most: Bytes, at most.

        Raises:
            Broken: If the stored bytes are damaged, or stand for more than ``size`` bytes.
        """
        fed, self._fed = self._fed, b""
        piece = self._decode(fed, min(most, self._missing + 1))
        self._missing -= len(piece)
        if self._missing < 0:
            raise Broken("stand for more bytes than the envelope says")
        return piece

    def finish(self) -> None:
        """Make sure that the payload has come to its end, and the stored bytes too.

        Raises:
            Broken: If it has not.
        """
        if self._missing or not self._ended():
            raise Broken("end early, or something follows them")

    def all_of(self, stored: bytes) -> bytes:
        """Return the payload of all stored bytes at once.

        Raises:
            Broken: As :meth:`take` and :meth:`finish`.
        """
        payload = BytesIO()
        for fed in _steps(stored):
            self.feed(fed)
            while piece := self.take(_STEP):
                payload.write(piece)
        self.finish()
        return payload.getvalue()

    @abstractmethod
    def _decode(self, stored: bytes | memoryview, most: int) -> bytes: ...

    @abstractmethod
    def _ended(self) -> bool: ...


class _Identity(Decoder):
    def all_of(self, stored: bytes) -> bytes:
        self.feed(stored)
        payload = self.take(len(stored))  # the same object
        self.finish()
        return payload

    def _decode(self, stored: bytes | memoryview, most: int) -> bytes:
        self._fed = stored[most:]
        return bytes(stored[:most])

    def _ended(self) -> bool:
        return not self._fed


class _Compressed(Decoder):
    """What is common to the decoders of both libraries."""

    _inner: Any
    _errors: type[Exception] | tuple[type[Exception], ...]
    _after = False  # something was fed beyond the end

    def _decode(self, stored: bytes | memoryview, most: int) -> bytes:
        if self._inner.eof:
            self._after = self._after or bool(stored)
            return b""
        try:
            return bytes(self._step(stored, most))
        except self._errors as exc:
            raise Broken(f"are damaged: {exc}") from exc

    def _ended(self) -> bool:
        return bool(self._inner.eof and not self._inner.unused_data and not self._after)

    def _step(self, stored: bytes | memoryview, most: int) -> bytes:
        piece: bytes = self._inner.decompress(stored, most)
        return piece


class _Gzip(_Compressed):
    _errors = zlib.error

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._inner = zlib.decompressobj(wbits=_GZIP_WBITS)

    def _step(self, stored: bytes | memoryview, most: int) -> bytes:
        piece = super()._step(stored, most)
        self._fed = self._inner.unconsumed_tail
        return piece


class _Zstd(_Compressed):
    def __init__(self, size: int) -> None:
        super().__init__(size)
        zstd = _zstd()
        self._errors = zstd.ZstdError
        self._inner = zstd.ZstdDecompressor(
            options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        )


def _zstd() -> Any:
    # PEP 784: in the standard library since 3.14; the same module, backported, before.
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        raise ConfigError(
            "compression 'zstd' needs a library, to write as to read: pip install 'faust-s3[zstd]'"
        ) from None
    return zstd
