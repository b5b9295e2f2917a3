"""A request's body as it arrives: counted, inflated, and stopped as soon as it is too large.

Layer: pure rules. Sizes are counted, never believed from a header. Source: PROTOCOLS.md 2.1; RFC 9110 8.4.
"""

from __future__ import annotations

import zlib
from typing import Final

from eventmw.errors import Refused

ENCODINGS: Final = ("gzip", "deflate")
_WINDOW: Final = {"gzip": 31, "deflate": 15}
_RAW_DEFLATE: Final = -15


class Body:
    """Collects the chunks of one body.

    Args:
        limit: bytes that the body may have after inflating; as many may come compressed.
        encoding: ``gzip``, ``deflate`` or "" for none.
    """

    __slots__ = ("_chunks", "_inflater", "_limit", "_size", "received")

    received: int
    """Bytes that came over the connection so far."""

    def __init__(self, limit: int, encoding: str = "") -> None:
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = self.received = 0
        self._inflater = _Inflater(encoding) if encoding else None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            Refused: ``body_too_large`` or ``invalid_encoding``.
        """
        self.received += len(chunk)
        if self._inflater is not None:
            chunk = self._inflater.feed(chunk, self._limit - self._size + 1)
        self._size += len(chunk)
        if self._size > self._limit or self.received > self._limit:
            raise too_large(self._limit)
        if chunk:
            self._chunks.append(chunk)

    def finish(self) -> bytes:
        """Return the whole body, inflated.

        Raises:
            Refused: ``invalid_encoding``, the compressed data ended too early.
        """
        if self._inflater is not None:
            self._inflater.finish()
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)


class _Inflater:
    """One layer of gzip or deflate, never more output than asked for."""

    __slots__ = ("_encoding", "_started", "_stream")

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._stream = zlib.decompressobj(_WINDOW[encoding])
        self._started = False

    def feed(self, chunk: bytes, at_most: int) -> bytes:
        if not chunk:
            return b""
        if self._stream.eof:
            raise _damaged("data follows its end")
        if not self._started:
            self._started = True
            # "deflate" means zlib, but many senders send it bare, and the first byte tells. Source: RFC 9110 8.4.1.2.
            if self._encoding == "deflate" and chunk[0] & 0x0F != zlib.DEFLATED:
                self._stream = zlib.decompressobj(_RAW_DEFLATE)
        try:
            inflated = self._stream.decompress(chunk, at_most)
        except zlib.error:
            raise _damaged("it cannot be inflated") from None
        if self._stream.unused_data:
            raise _damaged("data follows its end")
        return inflated

    def finish(self) -> None:
        if not self._stream.eof:
            raise _damaged("it ends too early")


def too_large(limit: int) -> Refused:
    """Return the refusal of a body over the limit."""
    return Refused("body_too_large", f"Expected at most {limit:,} bytes.")


def _damaged(why: str) -> Refused:
    return Refused("invalid_encoding", f"Expected one whole compressed body, but {why}.")
