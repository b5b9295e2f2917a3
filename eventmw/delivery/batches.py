"""Batches: a tool's ``pack`` and ``verdict``, called so that what they raise or return harms only the tool's own events.

Layer: pure rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import isfinite

from eventmw.contract import BoundTool, verdict_by_status
from eventmw.effects import Call, Order, Packed, Send, Verdict, Write, retry
from eventmw.errors import Misuse, TookTooLong, told
from eventmw.http import HttpReply, HttpRequest


@dataclass(slots=True, eq=False)
class Batch:
    """One request and the sends it carries.

    Attributes:
        failures: how often it failed as a whole; parts of one that failed begin with some.
        failed: it did so itself.
        suspect: it failed while others passed, or holds what failed before.
        keys: of its events, those that are to stay in order; see `eventmw.delivery.order`.
        not_before_s: monotonic seconds; a suspect waits until then.
        answers: how many answers the tool's vendor had given when it departed.
    """

    order: Order
    sends: Sequence[Send]
    failures: int = 0
    failed: bool = False
    suspect: bool = False
    keys: frozenset[int] = frozenset()
    not_before_s: float = 0.0
    answers: int = 0


class Rubbish(Misuse):
    """A tool returned something that its contract does not allow. The message tells what, without values."""


def pack(tool: BoundTool, sends: Sequence[Send], bad: Callable[[Send, str], None]) -> list[Batch]:
    """Return the batches that a tool makes of sends; every send is in exactly one, or was given to `bad` with a reason.

    When ``pack`` fails, it is tried with each half, so that one payload that it cannot take does not take others with it.
    """
    try:
        batches = [_batch(one, len(sends)) for one in islice(tool.pack(tuple(sends)), len(sends) + 1)]
        _check_complete(batches, sends)
    except BaseException as error:  # noqa: BLE001 - a tool harms only itself, whatever it raises
        if len(sends) == 1 or isinstance(error, TookTooLong):
            for send in sends:
                bad(send, f"pack {told(error)}")
            return []
        middle = len(sends) // 2
        return pack(tool, sends[:middle], bad) + pack(tool, sends[middle:], bad)
    return batches


def verdicts(tool: BoundTool, batch: Batch, reply: HttpReply) -> Sequence[Verdict]:
    """Return the tool's verdicts on an answer, one for each send.

    A ``verdict`` that raises on the page of an outage (a proxy's HTML where JSON was expected) must not bury what another
    attempt would deliver: an answer that the default rule would try again is tried again.

    Raises:
        Rubbish: ``verdict`` raised, or returned something else than one `Verdict` for each send.
    """
    try:
        given = list(islice(tool.verdict(reply, batch.sends), len(batch.sends) + 1))
        _check_verdicts(given, batch.sends)
    except BaseException as error:  # noqa: BLE001 - as above
        reason = f"verdict {told(error)}"
        plain = verdict_by_status(reply, batch.sends)[0]
        if plain.kind != "retry":
            raise Rubbish(reason) from None
        return [retry(f"{plain.reason}, and {reason}", plain.after_s)] * len(batch.sends)
    return given


def check_sizes(sends: Sequence[Send]) -> None:
    """Refuse a send with which no bytes can be counted.

    Raises:
        Rubbish: its size is no whole number, or negative.
    """
    for send in sends:
        size: object = send.size
        if not isinstance(size, int) or size < 0:
            raise Rubbish(f"yielded a Send whose size is {_kind(size)}, not a number of bytes")


def _batch(one: object, most: int) -> Batch:
    if not isinstance(one, Packed) or not isinstance(one.request, HttpRequest | Write | Call):
        raise Rubbish(f"yielded {type(one).__name__} where Packed(request, items) was expected")
    items = tuple(islice(one.items, most + 1))  # once: a generator gives its items a single time
    if not items:
        raise Rubbish("yielded a request without items")
    return Batch(one.request, items)


def _check_complete(batches: Sequence[Batch], sends: Sequence[Send]) -> None:
    found = [id(send) for batch in batches for send in batch.sends]
    if sorted(found) != sorted(map(id, sends)):
        raise Rubbish("did not give back each of its items exactly once (the same objects, not copies)")


def _check_verdicts(given: Sequence[object], sends: Sequence[Send]) -> None:
    if len(given) > len(sends):
        raise Rubbish(f"returned more verdicts than its {len(sends)} items")
    if len(given) < len(sends):
        raise Rubbish(f"returned {len(given)} verdicts for {len(sends)} items")
    for one in given:
        if not isinstance(one, Verdict) or one.kind not in {"done", "retry", "dead", "refused"}:
            raise Rubbish(f"returned {type(one).__name__} where a Verdict was expected")
        _check_words(one.reason, one.after_s)


def _check_words(reason: object, after_s: object) -> None:
    if not isinstance(reason, str):
        raise Rubbish(f"returned a Verdict whose reason is {type(reason).__name__}, not text")
    if after_s is None:
        return
    if isinstance(after_s, bool) or not isinstance(after_s, int | float) or not isfinite(after_s) or after_s < 0:
        raise Rubbish(f"returned a Verdict whose after_s is {_kind(after_s)}, not None or a number of seconds")


def _kind(value: object) -> str:
    """Return the kind of a value, and of a number what is wrong with it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "negative" if value < 0 else "not finite"
    return type(value).__name__
