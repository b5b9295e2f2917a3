"""A body as it arrives: the same in any chunks, never more than the limit, one layer of compression."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventmw.errors import Refused
from eventmw.intake.body import body_of


def raw_deflate(data: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-15)
    return squeezer.compress(data) + squeezer.flush()


def plain(data: bytes) -> bytes:
    return data


FORMS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("", plain),
    ("gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
]
DATA = st.binary(max_size=300) | st.integers(0, 5000).map(lambda size: b" " * size)


def collect(data: bytes, sizes: list[int], limit: int, encoding: str) -> bytes:
    body = body_of(encoding, limit)
    for size in sizes:
        body.feed(data[:size])
        data = data[size:]
    body.feed(data)
    return body.finish()


@given(DATA, st.lists(st.integers(0, 50), max_size=10), st.sampled_from(FORMS), st.integers(0, 6000))
@example(b"x" * 200, [], FORMS[0], 200)
@example(b"x" * 200, [], FORMS[1], 200)
@example(b" " * 5000, [1, 1, 1], FORMS[2], 4999)
def test_all_of_it_or_a_refusal(
    data: bytes, sizes: list[int], form: tuple[str, Callable[[bytes], bytes]], limit: int
) -> None:
    encoding, pack = form
    sent = pack(data)
    if len(data) > limit or len(sent) > limit:
        with pytest.raises(Refused) as caught:
            collect(sent, sizes, limit, encoding)
        assert caught.value.code == "body_too_large"
    else:
        assert collect(sent, sizes, limit, encoding) == data


@given(DATA, st.sampled_from(FORMS[1:]), st.data())
def test_a_cut_or_continued_body_is_damaged(
    data: bytes, form: tuple[str, Callable[[bytes], bytes]], draw: st.DataObject
) -> None:
    encoding, pack = form
    sent = pack(data)
    cut = sent[: draw.draw(st.integers(0, len(sent) - 1))]
    for damaged in (cut, sent + b"x"):
        with pytest.raises(Refused) as caught:
            collect(damaged, [], 10_000, encoding)
        assert caught.value.code == "invalid_encoding"


@given(st.binary(max_size=60), st.sampled_from(["gzip", "deflate"]), st.lists(st.integers(1, 9), max_size=4))
def test_arbitrary_bytes_never_raise_anything_else(data: bytes, encoding: str, sizes: list[int]) -> None:
    with suppress(Refused):
        collect(data, sizes, 1000, encoding)


def test_a_bomb_is_stopped_at_its_first_byte_too_many() -> None:
    """hazards.md 2.1: 100 MiB of zeros are 101,942 bytes of gzip."""
    bomb = gzip.compress(bytes(20 * 1024 * 1024))
    body = body_of("gzip", 1024)
    with pytest.raises(Refused, match="1,024 bytes"):
        body.feed(bomb[:1000])
    assert body.received == 1000


def test_what_came_over_the_connection_is_counted() -> None:
    body = body_of("", 100)
    body.feed(b"abc")
    body.feed(b"")
    body.feed(b"de")
    assert (body.received, body.finish()) == (5, b"abcde")
