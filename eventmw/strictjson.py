"""Strict JSON: which values are refused before anything looks at meaning, and the words for it.

Layer: pure rules. A document is UTF-8 without NaN or Infinity, without numbers beyond a double; integers of up to 4,000
digits are kept exactly, no text follows, and of equal keys the last wins. Source: PROTOCOLS.md 2.1; RFC 8259.

Broken syntax is a fault of the document. All other faults are faults of a value, and belong to the event that holds it:
`splittable` makes a document of which the decoder can tell the events apart, `decode_part` decodes one of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from math import isfinite
from typing import Any, Final, NoReturn, cast

import msgspec

from eventmw.errors import Fault, Refused

MAX_DIGITS: Final = 4_000
MENDED: Final = b"\\uFFfd"
"""Replaces an escaped lone surrogate: U+FFFD, as long as the escape, in a spelling by which it is found again."""

MENDED_WORDS: Final = "expected whole characters, got half of one (a lone surrogate); U+FFFD replaces it"

_DIGITS: Final = b"0123456789"
_BOM: Final = b"\xef\xbb\xbf"
_TEXT: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_texts_and_constants: Final = re.compile(
    _TEXT + rb"|(?<![0-9A-Za-z_.+-])(?P<constant>-?Infinity|NaN)(?![0-9A-Za-z_.+-])", re.DOTALL
)
_texts_and_brackets: Final = re.compile(_TEXT + rb"|[\[{]+|[\]}]+", re.DOTALL)
_surrogates: Final = re.compile(
    rb"(?<!\\)(?P<before>(?:\\\\)*+)(?:(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_decode = msgspec.json.Decoder(Any).decode
_check_syntax = msgspec.json.Decoder(msgspec.Raw).decode

# The decoder has no word for these, so numbers that are out of every range stand in for them until an event is judged.
_STAND_INS: Final[Mapping[str, str]] = {"NaN": "1e99999990", "Infinity": "1e99999991", "-Infinity": "-1e99999991"}
_CONSTANTS: Final[Mapping[str, str]] = {number: name for name, number in _STAND_INS.items()}

_CHUNK_DEPTH: Final = 64
"""Containers in each other that are given to the decoder at once in a document that is too deep for it."""

TOO_DEEP: Final = "The body is nested more deeply than anything that is accepted here."
_NUMBER: Final = f"numbers within a double's range and integers of at most {MAX_DIGITS:,} digits, got a larger one"

FAILURES: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder of msgspec raises."""

Encoded = bytes | msgspec.Raw


def without_bom(body: bytes) -> bytes:
    """Return the body without a byte order mark."""
    return body.removeprefix(_BOM)


def decode(body: bytes) -> Any:
    """Return the decoded value of a whole document, in which no value may be at fault.

    Raises:
        Refused: ``invalid_json``, ``number_too_large`` or ``too_deep``, with line and column.
    """
    try:
        return _decode(body)
    except FAILURES as error:
        refuse(body, error)


def decode_part(raw: Encoded, whole: bytes, *, explain: bool = True) -> Any:
    """Return the decoded value of one event of a document that `splittable` made.

    Args:
        raw: the event's JSON text.
        whole: the document as it was sent; the place of broken syntax is a place in it.
        explain: find the place of a fault.

    Raises:
        ValueFaultError: a value in it is at fault.
        Refused: ``invalid_json``, its syntax is broken.
    """
    text = bytes(raw)
    try:
        value = _decode(text)
    except RecursionError:
        raise ValueFaultError("too_deep", "", "expected less nesting, got more") from None
    except FAILURES:
        raise _value_fault(text, whole, explain=explain) from None
    if has_long_integer(text) and (found := _first(_with_unkept(text.decode()), _cannot_be_kept)):
        raise ValueFaultError("number_too_large", found[0], f"expected {_NUMBER}")
    return value


def _with_unkept(text: str) -> Any:
    return json.loads(text, parse_int=_kept_integer, parse_float=_kept_float, parse_constant=_Unkept)


VALUE_FAULTS: Final = frozenset({"invalid_json", "number_too_large", "too_deep"})
"""Codes of faults that are a value's."""


class ValueFaultError(Exception):
    """A value that JSON or this server has no place for, in a document whose syntax is right.

    Attributes:
        code: ``invalid_json``, ``number_too_large`` or ``too_deep``.
        path: a JSON Pointer from the top of the decoded part.
        message: what was expected, and what kind came.
    """

    def __init__(self, code: str, path: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.path = path
        self.message = message

    def fault(self, index: int | None, at: str) -> Fault:
        """Return it as the fault of the event at an index, which stands at the JSON Pointer `at`."""
        return Fault(index, at + self.path, "", self.code, self.message)


class _Unkept(str):
    """The text of a number that cannot be kept."""

    __slots__ = ()


def _value_fault(raw: bytes, whole: bytes, *, explain: bool) -> ValueFaultError:
    """Return which value the decoder gave up at. Raises `Refused` when it was the syntax."""
    text = raw.decode(errors="surrogateescape")
    try:
        value = _with_unkept(text)
    except json.JSONDecodeError:
        _refuse_syntax(whole)
    except RecursionError:
        return ValueFaultError("too_deep", "", "expected less nesting, got more")
    path, found = (_first(value, _cannot_be_kept) if explain else None) or ("", None)
    if not _is_utf8(raw):
        return ValueFaultError("invalid_json", path, "expected text in UTF-8, got other bytes")
    if isinstance(found, _Unkept) and (name := _CONSTANTS.get(found, found)) in _STAND_INS:
        return ValueFaultError("invalid_json", path, f"expected a JSON number, got {name}, which JSON does not have")
    return ValueFaultError("number_too_large", path, f"expected {_NUMBER}")


def _kept_integer(digits: str) -> int | str:
    return 0 if len(digits.lstrip("-")) <= MAX_DIGITS else _Unkept(digits)


def _kept_float(digits: str) -> float | str:
    number = float(digits)
    return number if isfinite(number) else _Unkept(digits)


def _cannot_be_kept(value: object) -> bool:
    return isinstance(value, _Unkept) or (isinstance(value, str) and not value.isascii() and not _is_text(value))


def _is_text(value: str) -> bool:
    return not any("\udc80" <= char <= "\udcff" for char in value)


def path_of_mended(value: Any) -> str:
    """Return the JSON Pointer of the first text that holds U+FFFD, or of the object of such a key; "" if there is none."""
    path, _ = _first(value, lambda inner: isinstance(inner, str) and "\ufffd" in inner) or ("", None)
    return path


def _first(value: Any, wanted: Callable[[object], bool]) -> tuple[str, object] | None:
    """Return the JSON Pointer of the first wanted value, or of the object of the first wanted key, and what it is."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        path, inner = waiting.pop()
        members: Iterable[tuple[object, Any]] = ()
        if type(inner) is list:
            items: list[Any] = cast(Any, inner)
            members = reversed([*enumerate(items)])
        elif isinstance(inner, dict):
            found = cast(dict[str, Any], inner)
            if key := next(filter(wanted, found), None):
                return path, key
            members = reversed(found.items())
        elif wanted(inner):
            return path, inner
        waiting += [(f"{path}/{str(name).replace('~', '~0').replace('/', '~1')}", member) for name, member in members]
    return None


def mend_surrogates(body: bytes) -> bytes:
    """Return JSON text of the same length in which `MENDED` replaces each escape that is half of a character."""
    return _surrogates.sub(_mended, body) if b"\\u" in body else body


def _mended(found: re.Match[bytes]) -> bytes:
    return found.group() if found["pair"] else found["before"] + MENDED


def splittable(body: bytes, max_depth: int) -> bytes:
    """Return JSON text like `body` whose containers the decoder can tell apart, whatever values they hold.

    NaN and Infinity become numbers out of every range, escaped lone surrogates U+FFFD. What is nested so deeply that the
    decoder gives up becomes 0, still deeper than `max_depth` containers. Linear in time, for any depth.

    Raises:
        Refused: ``invalid_json``, the syntax is broken somewhere.
    """
    mended = mend_surrogates(body)
    if b"NaN" in mended or b"Infinity" in mended:
        mended = _texts_and_constants.sub(_stood_in, mended)
    try:
        _check_syntax(mended)
    except RecursionError:
        return _flattened(mended, body, max(max_depth + 1, _CHUNK_DEPTH))
    except FAILURES:
        _refuse_syntax(body)
    return mended


def _stood_in(found: re.Match[bytes]) -> bytes:
    return _STAND_INS[found["constant"].decode()].encode() if found["constant"] else found.group()


def _flattened(text: bytes, whole: bytes, depth: int) -> bytes:
    """Return the text with 0 in place of each container that has `depth` others around it.

    Each part that is cut out is checked by itself, and what was cut out of it has been checked before.
    """
    cuts: list[list[bytes]] = [[]]
    begins = [0]
    level = 0
    for found in _texts_and_brackets.finditer(text):
        at, end = found.span()
        if text[at] in b"[{":
            while at < end:
                if level % depth == 0 and level:
                    cuts[-1].append(text[begins[-1] : at])
                    cuts.append([])
                    begins.append(at)
                step = min(end - at, depth - level % depth)
                level, at = level + step, at + step
        elif text[at] in b"]}":
            while at < end:
                if not level:
                    _refuse_syntax(whole)
                step = min(end - at, (level - 1) % depth + 1)
                level, at = level - step, at + step
                if level % depth == 0 and level:
                    _check_part(b"".join([*cuts.pop(), text[begins.pop() : at]]), whole)
                    cuts[-1].append(b"0")
                    begins[-1] = at
    if level:
        _refuse_syntax(whole)
    flat = b"".join([*cuts[0], text[begins[0] :]])
    _check_part(flat, whole)
    return flat


def _check_part(part: bytes, whole: bytes) -> None:
    try:
        _check_syntax(part)
    except FAILURES:
        _refuse_syntax(whole)


def refuse(body: bytes, error: Exception) -> NoReturn:
    """Say where and why the decoder gave up at a whole document.

    Raises:
        Refused: always.
    """
    match error:
        case RecursionError():
            raise Refused("too_deep", TOO_DEEP) from None
        case msgspec.ValidationError() if any(number.encode() in body for number in _CONSTANTS):
            raise Refused(
                "invalid_json", "Expected JSON numbers, got NaN or Infinity, which JSON does not have."
            ) from None
        case msgspec.ValidationError():
            raise Refused("number_too_large", f"Expected {_NUMBER}.") from None
        case _:
            _refuse_syntax(body)


def _refuse_syntax(body: bytes) -> NoReturn:
    try:
        words = _fault_of(body)
    except RecursionError:
        raise Refused("too_deep", TOO_DEEP) from None
    raise Refused("invalid_json", words) from None


def _fault_of(body: bytes) -> str:
    """Return what was expected and where: first of the syntax, then of the values."""
    if _looks_like_utf16(body):
        return "Expected UTF-8, got UTF-16 or UTF-32."
    text = body.decode(errors="replace")
    not_utf8 = "" if _is_utf8(body) else f"Expected UTF-8, got other bytes at {_place(body, _bad_byte(body))}."
    try:
        json.loads(text, parse_int=_kept_integer, parse_float=_kept_float)
    except json.JSONDecodeError as error:
        # Bytes that are no text where no text may be are what is wrong there, and no fault of the syntax.
        return not_utf8 if not_utf8 and text[error.pos : error.pos + 1] == "\ufffd" else _syntax(error)
    if not_utf8:
        return not_utf8
    for found in _texts_and_constants.finditer(body):
        if name := found["constant"]:
            place = _place(body, found.start())
            return f"Expected a JSON number, got {name.decode()}, which JSON does not have, at {place}."
    for found in _surrogates.finditer(body):
        if not found["pair"]:
            place = _place(body, found.end() - len(MENDED))
            return f"Expected complete \\uXXXX escapes, got a surrogate without its partner at {place}."
    return "Expected JSON, got something else."


# What the standard library's parser says → what this server says, the same with every version of Python. Its words name no
# values, but they change: 3.13 has some of its own for a comma too many, and names the comma's place.
_WORDS: Final[Mapping[str, str]] = {
    "Expecting property name": "Expected a name in double quotes",
    "Illegal trailing comma before end of object": "Expected a name in double quotes",
    "Expecting value": "Expected a value",
    "Illegal trailing comma before end of array": "Expected a value",
    "Expecting ':'": "Expected a colon after a name",
    "Expecting ','": "Expected a comma or a closing bracket after a value",
    "Extra data": "Expected the end, got more",
    "Unterminated string": "Expected the closing double quote of the text that begins",
    "Invalid control character": "Expected an escape such as \\n in a text, got a control character",
    "Invalid \\uXXXX": "Expected four hexadecimal digits after \\u",
    "Invalid \\escape": "Expected an escape that JSON has after the backslash",
}
_comma_too_many: Final = re.compile(r",[ \t\n\r]*(?=[\]}])").match


def _syntax(error: json.JSONDecodeError) -> str:
    text, at = error.doc, error.pos
    words = next((ours for theirs, ours in _WORDS.items() if error.msg.startswith(theirs)), "Expected JSON")
    if comma := _comma_too_many(text, at):
        at = comma.end()
    before = text[:at]
    return f"{words} at line {before.count(chr(10)) + 1}, column {at - before.rfind(chr(10))}."


def _looks_like_utf16(body: bytes) -> bool:
    """Return whether an encoding wrote it that has zero bytes around an ASCII character. Source: RFC 4627 3."""
    return body[:2] in {b"\xff\xfe", b"\xfe\xff"} or b"\0" in body[:2]


def _is_utf8(body: bytes) -> bool:
    return body.isascii() or _bad_byte(body) < 0


def _bad_byte(body: bytes) -> int:
    """Return the place of the first byte that is no UTF-8, or -1."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return error.start
    return -1


def _place(body: bytes, offset: int) -> str:
    before = body[:offset]
    line, column = before.count(b"\n") + 1, offset - before.rfind(b"\n")
    return f"line {line}, column {column}"


def has_long_integer(body: bytes) -> bool:
    """Return whether an integer may have more than `MAX_DIGITS` digits; long digits in texts and fractions count too.

    A run of that length covers one of every `MAX_DIGITS` + 1 bytes, so only those few are looked at.
    """
    if len(body) <= MAX_DIGITS:
        return False
    step = MAX_DIGITS + 1
    for offset, byte in zip(range(MAX_DIGITS, len(body), step), body[MAX_DIGITS::step], strict=True):
        if byte in _DIGITS and _run_around(body, offset) > MAX_DIGITS:
            return True
    return False


def check_digits(body: bytes) -> None:
    """Refuse a document with an integer of more than `MAX_DIGITS` digits.

    Raises:
        Refused: ``number_too_large``.
    """
    if has_long_integer(body):
        _check_integers(body)


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
