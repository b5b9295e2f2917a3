"""The Zaraz dialect: the HTTP Events API, from a body to a record, from a record to events, from both to an answer.

Layer: open folder, pure. Source: the seed ``zaraz-http-events-api.txt`` and PROTOCOLS.md 2; what those leave open is ours.

``accept`` and ``judge`` say which events are valid, ``events`` makes them, ``answer`` writes Result Objects, receipts and
problems; this module is the dialect that the runtime works with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from eventmw import strictjson
from eventmw.engine import Engine
from eventmw.errors import Refused
from eventmw.event import Event, Record
from eventmw.http import Headers, Reply
from eventmw.intake.door import Visit
from eventmw.protocols.zaraz import answer, events
from eventmw.protocols.zaraz.answer import Accepted, Options
from eventmw.protocols.zaraz.judge import Judge, Judgement
from eventmw.record import Erased, RepeatableIds
from eventmw.results import EMPTY
from eventmw.strictjson import VALUE_FAULTS

NAME: Final = "zaraz"

__all__ = ["NAME", "Accepted", "Judge", "Options", "Zaraz"]


class Zaraz:
    """The dialect, for one configuration. Stateless.

    Args:
        judge: what accepts Event Objects.
        options: how it answers.
    """

    name = NAME

    def __init__(self, judge: Judge, options: Options) -> None:
        self._judge = judge
        self._options = options

    def accept(
        self,
        body: bytes,
        visit: Visit,
        arrival: tuple[str, int],
        engine: Engine,
        over_budget: Callable[[], bool],
    ) -> Accepted:
        """Judge a payload and run the answering tools.

        Args:
            body: the payload, inflated.
            visit: what the door found out.
            arrival: what the server adds: 32 hexadecimal digits, and the time in milliseconds since 1970.
            engine: runs the answering tools.
            over_budget: says whether their time is up.

        Raises:
            Refused: nothing of it is accepted, or not all of it where all is needed.
        """
        receipt_id, recorded_ms = arrival
        judgement = self._judge(body, recorded_ms)
        kept: Sequence[int] = range(judgement.count)
        indexes: tuple[int, ...] | None = None
        if judgement.invalid:
            if self._options.all_or_nothing or not judgement.accepted:
                raise _not_enough(judgement)
            kept = indexes = _kept(judgement)
        if judgement.invalid or judgement.is_rewritten:
            body = events.payload(judgement.raws[index] for index in kept)
        if visit.idempotency_key is not None:
            receipt_id, body = _repeatable(visit.credential, visit.idempotency_key, body, judgement.ids, kept)
        record = Record(receipt_id, recorded_ms, NAME, visit.credential, visit.browser_ip, indexes, body, visit.browser)
        accepted = Accepted(record, judgement, b",".join([EMPTY] * judgement.count))
        if judgement.ids:
            accepted.own_ids = [(judgement.ids[index], index) for index in kept if index in judgement.ids]
        if engine.answering or self._options.tells_all:
            self._consult(accepted, kept, engine, over_budget)
        return accepted

    def _consult(
        self,
        accepted: Accepted,
        kept: Sequence[int],
        engine: Engine,
        over_budget: Callable[[], bool],
    ) -> None:
        """Fill in the Result Objects of the tools that answer, and for a full receipt what becomes of each event."""
        results = [EMPTY] * accepted.judgement.count
        tools: dict[int, dict[str, str]] = {}
        for index, event in zip(kept, events.events(accepted.record), strict=True):
            if isinstance(event, Erased):  # what was accepted just now is not
                continue
            results[index] = engine.answer(event, over_budget)
            if self._options.tells_all:
                tools[index] = engine.decisions(event)
        accepted.tools = tools
        accepted.results = b",".join(results)

    def reply(self, accepted: Accepted, durability: str, cors: Headers) -> Reply:
        """Return the answer to a request whose record has been kept."""
        return answer.reply(accepted, self._options, durability, cors)

    def refuse(self, refused: Refused, cors: Headers) -> Reply:
        """Return the answer to a request that is refused as a whole."""
        return answer.refuse(refused, cors)

    def events(self, record: Record) -> Iterator[Event | Erased]:
        """Return the events of a record, made one at a time; `ERASED` in the place of one whose person was erased."""
        return events.events(record)

    def single(self, record: Record, ordinal: int) -> Record:
        """Return a record that holds just one of the events."""
        return events.single(record, ordinal)


def _repeatable(credential: str, key: str, body: bytes, ids: dict[int, str], kept: Sequence[int]) -> tuple[str, bytes]:
    """Give every event without an id of its own one that repeats; return the record's id, and the payload with the ids.

    The ids are written into the events, so that a record says them whatever a later version makes of keys.
    """
    raws = [*events.raw_events(body)]
    repeatable = RepeatableIds(credential, key, map(strictjson.decode, raws))
    for ordinal, (index, (digest, number)) in enumerate(zip(kept, repeatable.events, strict=True)):
        if index not in ids:
            ids[index] = f"{digest}-{number}"
            raws[ordinal] = events.with_id(raws[ordinal], ids[index])
    return repeatable.request, events.payload(raws)


def _kept(judgement: Judgement) -> tuple[int, ...]:
    refused = set(judgement.invalid)
    return tuple([index for index in range(judgement.count) if index not in refused])


def _not_enough(judgement: Judgement) -> Refused:
    faults = tuple(note.fault for note in judgement.notes if note.status == "invalid" and note.fault is not None)
    total, bad = judgement.count, len(judgement.invalid)
    unexplained = bad - len({fault.index for fault in faults})
    detail = f"{bad} of {total} events {'is' if bad == 1 else 'are'} not valid, so none was accepted."
    code = "rejected_events" if judgement.accepted else "no_valid_event"
    codes = {fault.code for fault in faults}
    if not judgement.accepted and len(codes) == 1 and codes <= VALUE_FAULTS:  # the body as a whole is so
        (code,) = codes
        detail = f"{faults[0].message[0].upper()}{faults[0].message[1:]}, at {faults[0].path}."
    return Refused(
        code,
        detail,
        faults=faults,
        omitted=unexplained,
        events=total,
    )
