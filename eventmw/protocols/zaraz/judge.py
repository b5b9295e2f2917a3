"""The judgement of a whole payload: which Event Objects are accepted, and what is wrong with the others.

Layer: pure rules. The envelope is decoded once with the events left as bytes, then event by event, so that cost and memory
for an event stay the same from 1 to 100,000. A fast yes first; jsonschema only speaks of what was refused.

Source: PROTOCOLS.md 2.1 and 2.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final, Literal, NoReturn

import msgspec

from eventmw import strictjson
from eventmw.errors import Fault, Refused
from eventmw.formats import is_absent
from eventmw.protocols.zaraz.accept import MAX_ID, NO_OWN, is_valid, needs_no_advice, usual, usual_payload
from eventmw.protocols.zaraz.events import own_id
from eventmw.schema import Authority, published
from eventmw.times import FUTURE_MS, doubts

WHOLE_BYTES: Final = 128 * 1024
"""Up to this size a body is decoded at once; of a larger one, only one event at a time is objects in memory."""

MAX_EXPLAINED: Final = 25
"""Faults after which jsonschema is asked no more in one request: a hostile body is full of them."""

ENVELOPE_DEPTH: Final = 2
"""Containers around an Event Object: the object and its array."""


class _Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    events: list[msgspec.Raw]


_FRAME_BYTES: Final = len(b'{"events":[]}')
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_shallow = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


Status = Literal["invalid", "warned"]


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to say of one event; `fault` is None past `MAX_EXPLAINED` faults."""

    index: int
    status: Status
    fault: Fault | None


class Judgement(msgspec.Struct, gc=False):
    """What became of each event of a payload.

    Attributes:
        count: how many Event Objects there are.
        raws: the bytes of each, in order; empty when none is refused and nobody had to take the payload apart.
        is_rewritten: whether `raws` are kept and not the payload as it came, since a lone surrogate was replaced.
        invalid: the indexes of the refused ones, ascending.
        notes: what there is to say of refused and warned events, in order, at least one note for each of them.
        explained: how many of the notes have a fault.
        ids: index → the sender's own event id.
    """

    count: int
    raws: Sequence[msgspec.Raw] = ()
    is_rewritten: bool = False
    invalid: list[int] = []
    notes: list[Note] = []
    explained: int = 0
    ids: dict[int, str] = {}

    @property
    def accepted(self) -> int:
        """How many events are accepted."""
        return self.count - len(self.invalid)


class Judge:
    """Judges payloads of one dialect under one set of limits. Stateless between calls.

    Args:
        max_events: events in one request.
        max_depth: containers nested in each other, the envelope's two included; at least 8.
        strict: advice decides as well.
    """

    def __init__(self, *, max_events: int, max_depth: int, strict: bool) -> None:
        self._max_events = max_events
        self._event_depth = max_depth - ENVELOPE_DEPTH
        self._max_depth = max_depth
        self._strict = strict
        self._envelope = Authority(published("zaraz-request"))
        self._request = Authority(published("zaraz-request"), ("$defs", "event"))
        self._advice = Authority(published("zaraz-advice"), ("$defs", "event"))

    def __call__(self, body: bytes, now_ms: int) -> Judgement:
        """Judge a payload, sent as the strict JSON text `body`, at the time `now_ms`.

        Raises:
            Refused: the payload as a whole is no list of events (400) or over a limit (413).
        """
        has_long = strictjson.has_long_integer(body)
        judgement = self._judge_whole(body, now_ms) if len(body) <= WHOLE_BYTES and not has_long else None
        return judgement or self._judge_apart(body, now_ms, has_long=has_long)

    def _judge_whole(self, body: bytes, now_ms: int) -> Judgement | None:
        """Say yes to a payload of nothing but usual events, decoded at once; None says nothing."""
        events = usual_payload(body)
        if not events or len(events) > self._max_events:
            return None
        judgement, latest_ms = Judgement(len(events)), now_ms + FUTURE_MS
        for index, event in enumerate(events):
            own = event.eventmw
            if own is not NO_OWN:
                if own.timestamp > latest_ms:
                    return None
                if own.id:
                    judgement.ids[index] = own.id
        return judgement

    def _judge_apart(self, body: bytes, now_ms: int, *, has_long: bool) -> Judgement:
        """Take a payload apart and judge each event by itself."""
        raws, is_rewritten = self._split(body)
        if len(raws) > self._max_events:
            detail = f"Expected at most {self._max_events:,} events in one request, got {len(raws):,}."
            raise Refused("too_many_events", detail)
        judgement = Judgement(len(raws), raws, is_rewritten)
        for index, raw in enumerate(raws):
            # After so many faults the quick way would mostly be taken in vain.
            is_quick = judgement.explained < MAX_EXPLAINED and not (
                has_long and strictjson.has_long_integer(bytes(raw))
            )
            event = usual(raw) if is_quick else None
            if event is None or (is_rewritten and strictjson.MENDED in bytes(raw)):
                self._judge_slowly(index, raw, body, now_ms, judgement)
            elif (own := event.eventmw) is not NO_OWN:
                if own.id:
                    judgement.ids[index] = own.id
                if own.timestamp > now_ms + FUTURE_MS:
                    self._judge_slowly(index, raw, body, now_ms, judgement)
        return judgement

    def _split(self, body: bytes) -> tuple[list[msgspec.Raw], bool]:
        """Return the bytes of each event, and whether they differ from those of the body."""
        is_rewritten = False
        try:
            raws = _decode_envelope(body).events
            is_whole = _is_compact(body, raws) or not _may_hide(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raws, is_whole = [], False
        if not is_whole:
            sent = strictjson.without_bom(body)
            text = strictjson.splittable(sent, self._max_depth)
            raws, is_rewritten = self._split_slowly(text, sent), text != sent
        if not raws:
            self._refuse_envelope({"events": []})
        return raws, is_rewritten

    def _split_slowly(self, text: bytes, sent: bytes) -> list[msgspec.Raw]:
        """Take the envelope apart when it has unknown keys or odd values, or is no envelope at all.

        What stands around the events belongs to none of them, so there a value that is at fault refuses them all.
        """
        try:
            array = _decode_shallow(text)["events"]
            raws = _decode_array(array)
        except (msgspec.DecodeError, KeyError):
            self._refuse_envelope(strictjson.decode(sent))
        # Of equal keys the last wins: it is found from behind, and all that it hides is around it.
        before, _, after = text.rpartition(bytes(array))
        around = b"%b[]%b" % (before, after)
        strictjson.check_digits(around)
        if strictjson.deeper_than(strictjson.decode(around), self._max_depth):
            self._refuse_depth()
        return raws

    def _refuse_envelope(self, document: Any) -> NoReturn:
        faults = tuple(self._envelope.faults(document))
        detail = f"{faults[0].message[0].upper()}{faults[0].message[1:]}, at {faults[0].path or 'the top'}."
        raise Refused("invalid_envelope", detail, faults=faults)

    def _refuse_depth(self) -> NoReturn:
        raise Refused("too_deep", f"Expected at most {self._max_depth} levels of nesting, got more.")

    def _judge_slowly(self, index: int, raw: msgspec.Raw, body: bytes, now_ms: int, judgement: Judgement) -> None:
        at = f"/events/{index}"
        try:
            event = strictjson.decode_part(raw, body, explain=judgement.explained < MAX_EXPLAINED)
            self._check_depth(event, raw)
        except strictjson.ValueFaultError as error:
            _note(judgement, index, "invalid", [error.fault(index, at)])
            return
        whole = strictjson.object_in(event) or {}
        own = strictjson.object_in(whole.get("eventmw")) or {}
        ident = own_id(own)
        if ident is not None and len(ident) <= MAX_ID:
            judgement.ids[index] = ident
        if not is_valid(event):
            _note(judgement, index, "invalid", self._request.faults(event, at=at, index=index))
            return
        doubtful = [*_time_doubts(own, index, now_ms), *_mended(event, raw, index)]
        unnamed = [_unnamed(index)] if _is_unnamed(whole) else []
        if doubtful or not needs_no_advice(event):
            faults = chain(self._advice.faults(event, at=at, index=index), doubtful)
            if self._strict:
                _note(judgement, index, "invalid", faults)
            else:
                _note(judgement, index, "warned", chain(unnamed, faults))
        elif unnamed:
            _note(judgement, index, "warned", unnamed)

    def _check_depth(self, event: Any, raw: msgspec.Raw) -> None:
        text = bytes(raw)
        may_be_deep = text.count(b"{") + text.count(b"[") > self._event_depth
        if may_be_deep and strictjson.deeper_than(event, self._event_depth):
            words = f"expected at most {self._max_depth} levels of nesting, got more"
            raise strictjson.ValueFaultError("too_deep", "", words)


def _is_compact(body: bytes, raws: Sequence[msgspec.Raw]) -> bool:
    """Return whether the body is nothing but these events, without a blank between: then nothing can hide in it."""
    return len(body) == _FRAME_BYTES + sum(map(len, map(bytes, raws))) + len(raws) - 1


def _may_hide(body: bytes) -> bool:
    """Return whether `events` may stand more than once, or escaped: the envelope's decoder skips all but the last."""
    return body.count(b'"events"') > 1 or b"\\u006" in body or b"\\u007" in body


def _note(judgement: Judgement, index: int, status: Status, faults: Iterable[Fault]) -> None:
    """Write down the faults of one event. They are lazy: past `MAX_EXPLAINED` of them nobody works them out."""
    room = MAX_EXPLAINED - judgement.explained
    if room > 0:
        notes = [Note(index, status, fault) for fault in islice(faults, room)]
        judgement.explained += len(notes)
    else:
        notes = [Note(index, status, None)]
    judgement.notes += notes
    if notes and status == "invalid":
        judgement.invalid.append(index)


def _time_doubts(own: Mapping[str, Any], index: int, now_ms: int) -> Iterator[Fault]:
    when: Any = own.get("timestamp")
    if not is_absent(when):
        for code, words in doubts(when, now_ms):
            yield Fault(index, f"/events/{index}/eventmw/timestamp", "", code, words)


def _mended(event: Any, raw: msgspec.Raw, index: int) -> Iterator[Fault]:
    if strictjson.MENDED in bytes(raw):
        path = f"/events/{index}{strictjson.path_of_mended(event)}"
        yield Fault(index, path, "", "lone_surrogate", strictjson.MENDED_WORDS)


def _is_unnamed(event: Mapping[str, Any]) -> bool:
    client = strictjson.object_in(event["client"])
    return client is not None and client.get("__zarazTrack") == ""


def _unnamed(index: int) -> Fault:
    """Return the warning of an empty name. It is absent, so it refuses no event with ``strict=True`` either."""
    words = "expected a name that is not empty, got an empty one"
    return Fault(index, f"/events/{index}/client/__zarazTrack", "", "minLength", words)
