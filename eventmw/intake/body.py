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
    """Collects the chunks of one body that comes as it is.

    Args:
        limit: bytes that the body may have.
    """

    __slots__ = ("_chunks", "_limit", "received")

    received: int
    """Bytes that came over the connection so far."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: list[bytes] = []
        self.received = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            Refused: ``body_too_large`` or ``invalid_encoding``.
        """
        self.received += len(chunk)
        if self.received > self._limit:
            raise too_large(self._limit)
        if chunk:
            self._chunks.append(chunk)

    def finish(self) -> bytes:
        """Return the whole body, inflated.

        Raises:
            Refused: ``invalid_encoding``, the compressed data ended too early.
        """
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)


class Compressed(Body):
    """Collects a compressed body, inflated; as many bytes as it may have may come compressed.

    Args:
        encoding: ``gzip`` or ``deflate``.
    """

    __slots__ = ("_inflater", "_size")

    def __init__(self, limit: int, encoding: str) -> None:
        super().__init__(limit)
        self._size = 0
        self._inflater = _Inflater(encoding)

    def feed(self, chunk: bytes) -> None:
        """Take the next compressed bytes; see `Body.feed`."""
        self.received += len(chunk)
        inflated = self._inflater.feed(chunk, self._limit - self._size + 1)
        self._size += len(inflated)
        if self._size > self._limit or self.received > self._limit:
            raise too_large(self._limit)
        if inflated:
            self._chunks.append(inflated)

    def finish(self) -> bytes:
        """Return the whole body, inflated; see `Body.finish`."""
        self._inflater.finish()
        return super().finish()


def body_of(encoding: str, limit: int) -> Body:
    """Return what collects a body of that encoding: ``gzip``, ``deflate`` or "" for none."""
    return Compressed(limit, encoding) if encoding else Body(limit)


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
