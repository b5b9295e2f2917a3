"""What a call of ``/v1/delete`` asks for: a JSON text → the events that are to go, or every mistake in it.

Layer: pure rules; the present is an argument. Source: PROTOCOLS.md 3.3 (ours).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, islice
from typing import Any, Final, cast

from eventmw import strictjson
from eventmw.errors import Fault, Refused
from eventmw.keys import Key
from eventmw.query.language import parse, unknown_keys
from eventmw.query.periods import Period
from eventmw.schema import MAX_SHOWN, Authority, published
from eventmw.selection import Selection

SCHEMA: Final = "eventbunker-delete"

_CRITERIA: Final = ("customer_identifier", "event_name", "time_period")


def selection_of(body: bytes, key: Key, now_ms: int) -> Selection:
    """Return the events that a body means, within the wall of the key.

    Raises:
        Refused: it is no JSON (``invalid_json`` and its kin), or not what the call expects (``invalid_body``).
    """
    strictjson.check_digits(body)
    given = strictjson.decode(body)
    if faults := tuple(islice(_faults(given, key), MAX_SHOWN + 1)):
        raise _refused(faults)
    wanted = cast(Mapping[str, Any], given)
    try:
        period = _period(wanted, now_ms)
    except Refused as refused:
        raise _refused(refused.faults) from None
    return Selection(
        project=key.project_id,
        made_ms=now_ms,
        customer=wanted.get("customer_identifier", key.customer),
        event_name=wanted.get("event_name"),
        since_ms=None if period is None else period.from_ms,
        until_ms=None if period is None else period.to_ms,
    )


def _period(wanted: Mapping[str, Any], now_ms: int) -> Period | None:
    """Return the period, read as a question's is.

    Raises:
        Refused: it is none; the faults have their places.
    """
    if "time_period" not in wanted:
        return None
    return parse({name: wanted[name] for name in ("time_period", "time_zone") if name in wanted}, now_ms).period


def _refused(faults: Sequence[Fault]) -> Refused:
    detail = "Expected another body."
    return Refused("invalid_body", detail, faults=tuple(faults[:MAX_SHOWN]), omitted=max(0, len(faults) - MAX_SHOWN))


def _faults(given: object, key: Key) -> Iterator[Fault]:
    is_right = True
    for fault in chain(_authority().faults(given), unknown_keys(given, published(SCHEMA))):
        if fault.code != "additionalProperties":
            is_right = False
            yield fault
    if is_right:
        yield from _of_meaning(cast(Mapping[str, Any], given), key)


def _of_meaning(given: Mapping[str, Any], key: Key) -> Iterator[Fault]:
    customer = given.get("customer_identifier")
    if customer is not None and key.customer not in {None, customer}:
        yield _fault(
            "/customer_identifier", "const", "expected the customer that the key is bound to, got another text"
        )
    criteria: Collection[str] = [name for name in _CRITERIA if name in given]
    if not criteria and "everything" not in given:
        words = f"expected at least one of {', '.join(_CRITERIA)}, or everything: true, got none"
        yield _fault("", "required", words)
    if criteria and "everything" in given:
        yield _fault("/everything", "not_wanted", f"expected everything alone, got it beside {' and '.join(criteria)}")


def _fault(path: str, code: str, message: str) -> Fault:
    return Fault(None, path, "", code, message)


@cache
def _authority() -> Authority:
    return Authority(published(SCHEMA))
