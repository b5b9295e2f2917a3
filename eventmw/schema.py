"""The JSON Schemas, and what jsonschema says of a payload: the authority for verdicts, places and words.

Layer: pure rules; the only importer of jsonschema. `eventmw.accept` says yes faster and is held equal to this.

Source: JSON Schema draft 2020-12; the schemas in ``eventmw/schemas`` state PROTOCOLS.md 2.1 and 2.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from functools import cache
from importlib.resources import files
from itertools import chain, islice
from typing import Any, Final, cast

import msgspec
from jsonschema import Draft202012Validator, FormatChecker, validators
from jsonschema.exceptions import ValidationError
from referencing import Registry

from eventmw.errors import Fault
from eventmw.formats import NoOrigin, check_origin_spelling, is_ip
from eventmw.jsdates import is_js_time
from eventmw.pauses import pause

Schema = Mapping[str, Any]

MAX_SHOWN: Final = 100
"""Faults in one answer. Source: PROTOCOLS.md 2.3."""

_KINDS: Final[tuple[tuple[type, str], ...]] = (
    (bool, "a boolean"),
    (dict, "an object"),
    (list, "an array"),
    (str, "text"),
    (int, "a number"),
    (float, "a number"),
    (type(None), "null"),
)

_NO_OTHERS: Final = Registry[Any]()
"""No schema of another place is ever fetched."""

_formats = FormatChecker(formats=())


def _or_absent(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value == "" or check(value)


_formats.checks("eventmw-timestamp")(_or_absent(is_js_time))
_formats.checks("eventmw-ip")(_or_absent(is_ip))


@_formats.checks("eventmw-origin", raises=NoOrigin)
def _is_origin(value: object) -> bool:
    if isinstance(value, str):
        check_origin_spelling(value)
    return True


_Look = Callable[[Any, Any, Any, Schema], Iterable[ValidationError] | None]


def _unless_too_many(look: _Look, limit: str, kind: type) -> _Look:
    """Return what looks into an array or object only where that is not too large already.

    jsonschema goes by the order of a schema's keywords, and one limit that is passed does not keep it from working out
    hundreds of thousands of faults inside.
    """

    def looks(validator: Any, wanted: Any, instance: Any, schema: Schema) -> Iterator[ValidationError]:
        pause()
        if not isinstance(instance, kind) or len(sized := cast(Sized, instance)) <= schema.get(limit, len(sized)):
            yield from look(validator, wanted, instance, schema) or ()

    return looks


_STANDARD: Final[Mapping[str, _Look]] = cast(Any, Draft202012Validator).VALIDATORS


def _in_order(validator: Any, wanted: Any, instance: Any, schema: Schema) -> Iterable[ValidationError] | None:
    """Look at additional properties in the order of the object; jsonschema's order hangs on the seed of hashes."""
    if not isinstance(wanted, dict) or not isinstance(instance, dict):
        return _STANDARD["additionalProperties"](validator, wanted, instance, schema)
    known, patterns = schema.get("properties", {}), "|".join(schema.get("patternProperties", {}))
    fields = cast(Mapping[str, object], instance)
    others = (name for name in fields if name not in known and not (patterns and re.search(patterns, name)))
    return chain.from_iterable(validator.descend(fields[name], wanted, path=name) for name in others)


_LOOKS: Final = {**_STANDARD, "additionalProperties": _in_order}


_LIMITED: Final = {
    "items": ("maxItems", list),
    "propertyNames": ("maxProperties", dict),
    "additionalProperties": ("maxProperties", dict),
    "properties": ("maxProperties", dict),
}
"""Keyword that looks at each member → the keyword beside it that says how many there may be."""

_Validator: Final[Any] = cast(Any, validators).extend(
    Draft202012Validator,
    {keyword: _unless_too_many(_LOOKS[keyword], limit, kind) for keyword, (limit, kind) in _LIMITED.items()},
)


@cache
def published(name: str) -> Schema:
    """Return a published schema: ``zaraz-request``, ``zaraz-advice``, ``zaraz-reply`` or ``eventbunker-track``."""
    return cast(Schema, msgspec.json.decode(files("eventmw").joinpath("schemas", f"{name}.json").read_bytes()))


def pointer(parts: Iterable[object]) -> str:
    """Return a JSON Pointer. Source: RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


class Authority:
    """jsonschema over one schema, built once and asked often.

    Args:
        schema: the schema's root.
        at: the path inside it that is applied, such as ``("$defs", "event")``; that part must hold no references.
    """

    def __init__(self, schema: Schema, at: tuple[str, ...] = ()) -> None:
        self._prefix = pointer(at)
        for key in at:
            schema = schema[key]
        # Its stubs know only JSON values of some types; what we ask about is any decoded value.
        self._validator: Any = _Validator(schema, registry=_NO_OTHERS, format_checker=_formats)

    def accepts(self, instance: object) -> bool:
        """Return whether the instance is valid."""
        return bool(self._validator.is_valid(instance))

    def faults(self, instance: object, *, at: str = "", index: int | None = None) -> Iterator[Fault]:
        """Return what is wrong, in the schema's order: one fault more than an answer shows stands for all that follow.

        ``at`` is the instance's own JSON Pointer in its document.
        """
        errors = cast(Iterator[ValidationError], self._validator.iter_errors(instance))
        for error in islice(errors, MAX_SHOWN + 1):
            pause()
            yield Fault(
                index=index,
                path=at + pointer(error.absolute_path),
                schema_path=self._prefix + pointer(_short(error.absolute_schema_path)),
                code=str(error.validator),
                message=_words(error),
            )


def _short(path: Iterable[object]) -> Iterator[object]:
    """Return a path in a schema up to a pattern for keys: patterns that fold spellings are longer than a message."""
    for part in path:
        yield part
        if part == "patternProperties":
            return


def kind_of(value: object) -> str:
    """Return the JSON kind of a value in words: all that a message may tell of it."""
    return next((words for python_type, words in _KINDS if isinstance(value, python_type)), "something else")


def _words(error: ValidationError) -> str:
    schema, instance = cast(Schema, error.schema), cast(Any, error.instance)
    if error.validator == "required":
        missing = [name for name in cast(list[str], error.validator_value) if name not in instance]
        return f"expected the key {', '.join(missing)}, which is missing"
    if error.validator in {"minItems", "minLength"} and not instance:
        return f"expected {schema.get('title', 'more')}, got an empty one"
    advice = f": {error.cause.advice}" if isinstance(error.cause, NoOrigin) else ""
    return f"expected {schema.get('title') or error.validator}, got {_shape(error)}{advice}"


def _shape(error: ValidationError) -> str:
    instance = cast(Any, error.instance)
    match error.validator:
        case "maxLength" | "minLength" if error.validator_value:
            return f"{len(instance)} characters"
        case "maxItems":
            return f"an array of {len(instance)}"
        case "anyOf" if isinstance(instance, list):
            return f"an array with {' and '.join(dict.fromkeys(map(kind_of, cast(list[object], instance))))}"
        case "not":
            return "this one"
        case "pattern" | "format":
            return f"other {kind_of(instance)}"
        case _:
            return kind_of(instance)
