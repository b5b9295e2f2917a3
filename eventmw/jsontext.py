"""JSON values on their way out: told apart, and written for a body, for a line of a log, for the inside of a script.

Layer: pure rules. What reads JSON is `eventmw.strictjson`.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Final, TypeGuard, cast

import msgspec


def _plain(value: object) -> Any:
    """Turn a read-only mapping, which events hold, into what the encoder knows."""
    if isinstance(value, Mapping):
        return dict(cast(Mapping[str, Any], value))
    raise TypeError(f"a JSON value was expected, not {type(value).__name__}")


_encode = msgspec.json.Encoder(enc_hook=_plain).encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode

# Characters that move the cursor, end a line or turn the reading direction: C0, DEL, C1, the line separators and the
# bidirectional controls. In JSON text they stand inside strings only, where an escape means the same.
# Source: OWASP Logging Cheat Sheet (CWE-117); CVE-2021-42574 for the bidirectional controls.
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")

# What could end the script element, a comment or a string literal around the text. Source: HTML Standard, «Restrictions
# for contents of script elements»; the quotes, the backtick and the dollar sign so that a literal around it stays closed.
_UNSAFE_IN_SCRIPT: Final = re.compile("[<>&'`$\u2028\u2029]")


ESCAPES: Final = "eventmw.escapes"
"""The name of an error handler of codecs: what an encoding lacks is written as JSON escapes it, so JSON stays JSON."""


def _escape_lacking(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error(ESCAPES, _escape_lacking)


def is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Return whether a JSON value is an object."""
    return isinstance(value, Mapping)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Return whether a JSON value is a list."""
    return isinstance(value, list)


def encode(value: object) -> bytes:
    """Return a JSON value as compact UTF-8.

    Raises:
        TypeError: something in it is not a JSON value.
    """
    return _encode(value)


def encode_exactly(value: object) -> bytes:
    """Return a JSON value as compact UTF-8, and refuse NaN and Infinity, which `encode` writes as null.

    Raises:
        TypeError: something in it is not a JSON value.
        ValueError: a number is not finite, or a text has a lone surrogate.
        RecursionError: it is nested too deeply.
    """
    encoded = _encode(value)
    if b"null" in encoded:
        _check_finite(value)
    return encoded


def _check_finite(value: Any) -> None:
    if isinstance(value, float) and not isfinite(value):
        raise ValueError("JSON has no NaN and no Infinity")
    if is_object(value):
        value = value.values()
    elif not isinstance(value, list | tuple | set | frozenset):
        return
    for inner in cast(Iterable[Any], value):
        _check_finite(inner)


def canonical(value: Any) -> bytes:
    """Return the same bytes for every spelling of a JSON value: keys are sorted, and 1, 1.0 and 1e0 are one number."""
    return _encode_sorted(_one_number(value))


def _one_number(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if is_object(value):
        return {key: _one_number(inner) for key, inner in value.items()}
    return [_one_number(inner) for inner in value] if is_list(value) else value


def for_line(value: object) -> str:
    """Return JSON text that is one printable line whatever the value holds; it decodes to the value."""
    return _UNPRINTABLE.sub(_escape, encode(value).decode())


def for_script(value: object) -> str:
    """Return a JavaScript expression for the value that cannot end the script around it; it is JSON as well."""
    return _UNSAFE_IN_SCRIPT.sub(_escape, encode(value).decode())


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found.group()):04x}"
