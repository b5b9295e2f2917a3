"""Strict JSON: what is refused before anything looks at meaning, and the words for it.

Layer: pure rules. UTF-8 without lone surrogates, no NaN or Infinity, no number beyond a double, integers of up to 4,000
digits kept exactly, no trailing text; of equal keys the last wins. Source: PROTOCOLS.md 2.1; RFC 8259.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any, Final, NoReturn, cast

import msgspec

from eventmw.errors import Refused

MAX_DIGITS: Final = 4_000
_DIGITS: Final = b"0123456789"
_BOM: Final = b"\xef\xbb\xbf"
_texts_and_words: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[A-Za-z]+')
_escapes: Final = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<lone>u[dD][89a-fA-F]..)|.)", re.DOTALL)
_decode = msgspec.json.Decoder(Any).decode

Encoded = bytes | msgspec.Raw


def without_bom(body: bytes) -> bytes:
    """Return the body without a byte order mark."""
    return body.removeprefix(_BOM)


def decode(body: Encoded, *, whole: bytes | None = None) -> Any:
    """Return the decoded value.

    Args:
        body: the JSON text, or a part of it.
        whole: the document that `body` is a part of; places in messages are places in it.

    Raises:
        Refused: ``invalid_json``, ``number_too_large`` or ``too_deep``, with line and column.
    """
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        refuse(bytes(body) if whole is None else whole, error)


def refuse(body: bytes, error: Exception) -> NoReturn:
    """Say where and why the decoder gave up.

    Raises:
        Refused: always.
    """
    match error:
        case RecursionError():
            raise Refused("too_deep", "The body is nested more deeply than anything that is accepted here.") from None
        case UnicodeDecodeError():
            raise Refused(
                "invalid_json", f"Expected UTF-8, got other bytes at {_place(body, _bad_byte(body))}."
            ) from None
        case msgspec.ValidationError():
            raise Refused("number_too_large", "Expected numbers within a double's range and integers of at most "
                          f"{MAX_DIGITS:,} digits, got a larger one.") from None  # fmt: skip
        case _:
            raise Refused("invalid_json", _syntax(body)) from None


def _syntax(body: bytes) -> str:
    """Return what the standard library's parser expected and where: its messages name no values."""
    try:
        text = body.decode()
        json.loads(text, parse_constant=_Constant.found)
    except json.JSONDecodeError as error:
        return f"{error.msg} at line {error.lineno}, column {error.colno}."
    except UnicodeDecodeError as error:
        return f"Expected UTF-8, got other bytes at {_place(body, error.start)}."
    except RecursionError:
        return "Expected JSON, got something else inside very deep nesting."
    except _Constant as error:
        return (
            f"Expected a JSON number, got {error.name}, which JSON does not have, at {_constant_at(body, error.name)}."
        )
    return f"Expected complete \\uXXXX escapes, got a surrogate without its partner at {_surrogate_at(body)}."


class _Constant(Exception):  # noqa: N818 - carries what was found out of the parser
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    @classmethod
    def found(cls, name: str) -> NoReturn:
        raise cls(name)


def _constant_at(body: bytes, name: str) -> str:
    """Return the place of the first such word outside of texts: the parser stopped at it, so all before it is sound."""
    tokens = _texts_and_words.finditer(body)
    return _place(body, next((token.start() for token in tokens if token.group() == name.encode()), 0))


def _surrogate_at(body: bytes) -> str:
    """Return the place of the first escape that is half of a character. The whole body is sound but for that."""
    escapes = _escapes.finditer(body)
    return _place(body, next((escape.start() for escape in escapes if escape["lone"]), 0))


def _bad_byte(body: bytes) -> int:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return error.start
    return 0


def _place(body: bytes, offset: int) -> str:
    before = body[:offset]
    line, column = before.count(b"\n") + 1, offset - before.rfind(b"\n")
    return f"line {line}, column {column}"


def check_digits(body: bytes) -> None:
    """Refuse integers of more than `MAX_DIGITS` digits.

    A run of that length covers one of every `MAX_DIGITS` + 1 bytes, so only those few are looked at.

    Raises:
        Refused: ``number_too_large``.
    """
    if len(body) <= MAX_DIGITS:
        return
    step = MAX_DIGITS + 1
    for offset, byte in zip(range(MAX_DIGITS, len(body), step), body[MAX_DIGITS::step], strict=True):
        if byte in _DIGITS and _run_around(body, offset) > MAX_DIGITS:
            _check_integers(body)
            return


def _run_around(body: bytes, offset: int) -> int:
    before, after = body[max(0, offset - MAX_DIGITS) : offset], body[offset : offset + MAX_DIGITS + 1]
    return len(before) - len(before.rstrip(_DIGITS)) + len(after) - len(after.lstrip(_DIGITS))


def _check_integers(body: bytes) -> None:
    """Parse once more, slowly, to tell an integer from a long text or fraction. All else the decoder will refuse."""
    with suppress(ValueError, RecursionError):
        json.loads(body, parse_int=_integer, parse_float=lambda _: 0.0)


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise Refused("number_too_large", f"Expected integers of at most {MAX_DIGITS:,} digits, got {len(digits):,}.")
    return 0


def object_in(value: object) -> dict[str, Any] | None:
    """Return a decoded value when it is an object, else None."""
    return cast(dict[str, Any], value) if type(value) is dict else None


def deeper_than(value: Any, levels: int) -> bool:
    """Return whether containers are nested more than `levels` deep: a scalar is 0 deep, ``[]`` 1, ``[{}]`` 2."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [outer for outer in layer if type(outer) is dict or type(outer) is list]
        if not layer:
            return False
        layer = [inner for outer in layer for inner in (outer.values() if type(outer) is dict else outer)]
    return True
