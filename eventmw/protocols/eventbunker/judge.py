"""The judgement of a request: one event, or an array of them, each good or not.

Layer: pure rules. A fast yes first; jsonschema only speaks of what was refused. Source: PROTOCOLS.md 3.1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final, Protocol, cast

import msgspec

from eventmw import strictjson
from eventmw.errors import Fault, Refused
from eventmw.formats import is_absent
from eventmw.protocols.eventbunker.accept import is_valid, refused_part
from eventmw.protocols.eventbunker.events import customer_of
from eventmw.schema import Authority, pointer, published
from eventmw.times import doubts

MAX_EXPLAINED: Final = 25
"""Faults after which jsonschema is asked no more in one request: a hostile body is full of them."""

MAX_NAMES: Final = 2_000
"""Names of events that a project may have. Source: the service's page on the format of events."""

FIELDS_DEPTH: Final = 3
"""Containers in each other in the deepest event that is valid, an array in an object in the event."""

_decode = msgspec.json.Decoder(Any).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Names(Protocol):
    """Who counts the names of each project's events."""

    def may_name(self, project_id: str, name: str) -> bool:
        """Return whether an event of this name may be taken: it is known, or there is room for one more. Never waits."""
        ...


class AnyName:
    """Takes every name: for where nobody counts."""

    def may_name(self, project_id: str, name: str) -> bool:  # noqa: ARG002 - as the Protocol has it
        """Return that it may."""
        return True


class Writer(msgspec.Struct, frozen=True, gc=False):
    """Who writes: the project of the key, and the one customer that it is bound to, or None."""

    project_id: str
    customer: str | None = None


class Judgement(msgspec.Struct, gc=False):
    """What became of each event of a request.

    Attributes:
        count: how many events there are; one when the body was no array.
        is_batch: whether the body was an array.
        raws: the bytes of each, in order; empty when none is refused, and no lone surrogate was replaced in one.
        invalid: index → what is wrong with that event; empty past `MAX_EXPLAINED` faults.
        explained: how many faults these are.
        warnings: what looks wrong in the accepted events; the answer has no place for it.
    """

    count: int
    is_batch: bool
    raws: Sequence[msgspec.Raw] = ()
    invalid: dict[int, tuple[Fault, ...]] = {}
    explained: int = 0
    warnings: list[Fault] = []

    @property
    def accepted(self) -> int:
        """How many events are accepted."""
        return self.count - len(self.invalid)

    def warned(self) -> Mapping[str, int]:
        """Return how many warnings there are of each code."""
        return Counter(fault.code for fault in self.warnings)


class Judge:
    """Judges requests under one set of limits. Stateless between calls.

    Args:
        max_events: events in one request.
        max_depth: containers nested in each other in a body.
    """

    def __init__(self, *, max_events: int, max_depth: int) -> None:
        self._max_events = max_events
        self._max_depth = max_depth
        self._authority = Authority(published("eventbunker-track"))

    def __call__(self, body: bytes, writer: Writer, names: Names, now_ms: int) -> Judgement:
        """Judge the JSON text `body`, at the time `now_ms`.

        Raises:
            Refused: it is no JSON (400), over a limit (413), or no event of it is accepted (400, ``invalid_body``).
        """
        document, raws = self._read(body)
        if type(document) is dict and is_valid(document) and _unfit(cast(Any, document), writer, names, None) is None:
            return self._with_warnings(Judgement(1, is_batch=False, raws=raws), [document], now_ms)
        is_batch = isinstance(document, list)
        events: list[Any] = cast(list[Any], document) if is_batch else [document]
        self._check_count(len(events))
        judgement = Judgement(len(events), is_batch, raws)
        for number, event in enumerate(events):
            index = number if is_batch else None
            if isinstance(event, strictjson.ValueFaultError):
                _note(judgement, number, [event.fault(index, _at(index))])
            elif not is_valid(event):
                _note(judgement, number, self._faults(event, index))
            elif (fault := _unfit(event, writer, names, index)) is not None:
                _note(judgement, number, [fault])
        if not judgement.accepted:
            raise _none(judgement)
        if judgement.invalid and not raws:
            judgement.raws = _decode_array(body)
        return self._with_warnings(judgement, events, now_ms)

    def _read(self, body: bytes) -> tuple[Any, Sequence[msgspec.Raw]]:
        """Return the decoded document, and the bytes of each event when they are not simply those of the body.

        In the place of an event of which a value is at fault stands its fault.
        """
        if not strictjson.has_long_integer(body):
            with suppress(*strictjson.FAILURES):
                return _decode(body), ()
        text = strictjson.splittable(body, self._max_depth)
        if text.lstrip()[:1] != b"[":
            return self._read_part(text, body, 0), [msgspec.Raw(text)]
        raws = _decode_array(text)
        self._check_count(len(raws))
        return [self._read_part(raw, body, number) for number, raw in enumerate(raws)], raws

    def _read_part(self, raw: strictjson.Encoded, body: bytes, number: int) -> Any:
        try:
            return strictjson.decode_part(raw, body, explain=number < MAX_EXPLAINED)
        except strictjson.ValueFaultError as error:
            return error

    def _check_count(self, count: int) -> None:
        if count > self._max_events:
            detail = f"Expected at most {self._max_events:,} events in one request, got {count:,}."
            raise Refused("too_many_events", detail)

    def _faults(self, event: Any, index: int | None) -> Iterator[Fault]:
        """Return what is wrong with an event; nothing is worked out before it is asked for."""
        if strictjson.deeper_than(event, self._max_depth - (index is not None)):
            words = f"expected at most {self._max_depth} levels of nesting, got more"
            yield Fault(index, _at(index), "", "too_deep", words)
            return
        yield from self._authority.faults(refused_part(event, MAX_EXPLAINED), at=_at(index), index=index)

    def _with_warnings(self, judgement: Judgement, events: Sequence[Any], now_ms: int) -> Judgement:
        """Add what looks wrong in the accepted events."""
        for number, event in enumerate(events):
            if number in judgement.invalid:
                continue
            index = number if judgement.is_batch else None
            if "timestamp" in event and not is_absent(event["timestamp"]):
                for code, words in doubts(event["timestamp"], now_ms):
                    judgement.warnings.append(Fault(index, f"{_at(index)}/timestamp", "", code, words))
            if judgement.raws and strictjson.MENDED in bytes(judgement.raws[number]):
                path = _at(index) + strictjson.path_of_mended(event)
                judgement.warnings.append(Fault(index, path, "", "lone_surrogate", strictjson.MENDED_WORDS))
        return judgement


def _at(index: int | None) -> str:
    return "" if index is None else f"/{index}"


def _note(judgement: Judgement, index: int, faults: Iterable[Fault]) -> None:
    """Write down what is wrong with one event. They are lazy: past `MAX_EXPLAINED` of them nobody works them out."""
    told = judgement.invalid[index] = tuple(islice(faults, max(0, MAX_EXPLAINED - judgement.explained)))
    judgement.explained += len(told)


def _unfit(event: Mapping[str, Any], writer: Writer, names: Names, index: int | None) -> Fault | None:
    """Return why a valid event is not taken from this writer, or None."""
    at = () if index is None else (index,)
    if (
        writer.customer is not None
        and customer_of(event.get("customer_identifier"), writer.customer) != writer.customer
    ):
        words = "expected the customer that this key is bound to, or none, got another one"
        return Fault(index, pointer((*at, "customer_identifier")), "", "other_customer", words)
    if not names.may_name(writer.project_id, event["event_name"]):
        words = f"expected one of the {MAX_NAMES:,} event names that the project has already, got a new one"
        return Fault(index, pointer((*at, "event_name")), "", "too_many_names", words)
    return None


def _none(judgement: Judgement) -> Refused:
    """Return the refusal of a request of which nothing is taken; of an array, its faults have indexes."""
    faults = tuple(_all(judgement))
    if not judgement.count:
        faults = (Fault(None, "", "", "minItems", "expected an array of at least one event, got an empty one"),)
    detail = (
        f"{judgement.count} of {judgement.count} events are not valid." if judgement.is_batch else "It is not valid."
    )
    if not judgement.is_batch and faults and faults[0].code in strictjson.VALUE_FAULTS:
        return Refused(faults[0].code, detail, faults=faults, events=judgement.count)
    return Refused("invalid_body", detail, faults=faults, events=judgement.count)


def _all(judgement: Judgement) -> Iterator[Fault]:
    for faults in judgement.invalid.values():
        yield from faults
