"""What ``eventmw send`` knows of EventBunker's track API: the shape of an event there, and of the answers.

Layer: people. Source: PROTOCOLS.md 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard, cast

from eventmw.cli import output
from eventmw.cli.output import count, plain
from eventmw.jsontext import encode

VARIABLE: Final = "EVENTMW_WRITE_KEY"
HEADER: Final = "x-eventbunker-write-key"
_UNAUTHORIZED: Final = 401


def fields(key: str, ident: str | None) -> dict[str, str]:
    """Return the header fields that show a write key, and against duplicates an id."""
    return {HEADER: key} | ({"idempotency-key": ident} if ident else {})


def body_of(event: str, properties: Mapping[str, Any]) -> bytes:
    """Return the body of one event."""
    return encode({**properties, "event_name": event})


def is_error(document: object) -> TypeGuard[Mapping[str, Any]]:
    """Return whether JSON is an error, or the answer for a refused event."""
    return _is_object(document) and "error" in document and isinstance(document.get("details"), list)


def is_answer(document: object) -> bool:
    """Return whether JSON is an answer for accepted events, some of which may be refused."""
    several = _several(document)
    return bool(several) and all(is_error(one) or (_is_object(one) and "unique_req_id" in one) for one in several)


def _is_object(document: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(document, dict)


def _several(document: object) -> Sequence[Any]:
    return cast(Sequence[Any], document) if isinstance(document, list) else [document]


def show(document: object) -> None:
    """Print an answer."""
    several = _several(document)
    output.say(f"{count(sum(not is_error(one) for one in several), 'event')} accepted.", output.GOOD)
    for index, one in enumerate(several):
        if is_error(one):
            output.say(f"  event {index}: refused: {plain(one['error'])}", output.BAD)
            _show_details(one, error=False)
        else:
            output.say(f"  event {index}: unique_req_id {plain(one['unique_req_id'])}")


def show_error(status: int, document: Mapping[str, Any], *, showed_key: bool) -> None:
    """Print why all is refused, on standard error, and what to do where no key was shown."""
    output.say(f"Refused with {status}: {plain(document['error'])}", output.BAD, error=True)
    _show_details(document, error=True)
    if status == _UNAUTHORIZED and not showed_key:
        words = "`eventmw keys create write` makes a key"
        output.say(
            f"This is EventBunker's track API: give a write key with --write-key or in ${VARIABLE}, and the event is sent "
            f"in its shape ({words}).",
            error=True,
        )


def _show_details(document: Mapping[str, Any], *, error: bool) -> None:
    for detail in document["details"]:
        output.say(f"  {plain(detail.get('path')) or 'the top'}: {plain(detail.get('message'))}", error=error)
