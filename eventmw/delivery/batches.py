"""Batches: a tool's ``pack`` and ``verdict``, called so that what they raise or return harms only the tool's own events.

Layer: pure rules.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from typing import cast

from eventmw.contract import BoundTool, verdict_by_status
from eventmw.effects import Call, Order, Packed, Send, Verdict, Write, dead, later, retry
from eventmw.errors import Misuse, Reject, RetryAfter, TookTooLong
from eventmw.http import HttpReply, HttpRequest
from eventmw.tracebacks import definition, yield_place


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
        batches = [*islice(_batches(tool, sends), len(sends) + 1)]
        _check_complete(tool, batches, sends)
    except BaseException as error:  # noqa: BLE001 - a tool harms only itself, whatever it raises
        if len(sends) == 1 or isinstance(error, TookTooLong):
            reason = tool.troubles.note("pack", error, tool.pack)
            for send in sends:
                bad(send, reason)
            return []
    else:
        return batches
    middle = len(sends) // 2
    return pack(tool, sends[:middle], bad) + pack(tool, sends[middle:], bad)


def verdicts(tool: BoundTool, batch: Batch, reply: HttpReply) -> Sequence[Verdict]:
    """Return the tool's verdicts on an answer, one for each send.

    A ``verdict`` that raises on the page of an outage (a proxy's HTML where JSON was expected) must not bury what another
    attempt would deliver: an answer that the default rule would try again is tried again.

    Raises:
        Rubbish: ``verdict`` raised, or returned something else than one `Verdict` for each send.
    """
    try:
        given = _judgements(tool.verdict(reply, batch.sends), len(batch.sends))
        _check_verdicts(given, batch.sends)
    except BaseException as error:  # noqa: BLE001 - as above
        reason = tool.troubles.note("verdict", error, tool.verdict)
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


def asked_of(error: BaseException | None) -> Verdict | None:
    """Return the verdict that a consumer asked for by raising `Reject` or `RetryAfter`, or None."""
    while isinstance(error, BaseExceptionGroup):  # a task group wraps what one of its tasks raised
        members = cast("BaseExceptionGroup[BaseException]", error).exceptions
        error = members[0] if len(members) == 1 else None
    if isinstance(error, Reject):
        return dead(error.reason)
    return later(error.reason, error.seconds) if isinstance(error, RetryAfter) else None


def _is_list(given: object) -> bool:
    """Return whether it is an iterable of things, and no text or mapping, whose members nobody means."""
    return isinstance(given, Iterable) and not isinstance(given, str | bytes | bytearray | Mapping)


def _judgements(returned: object, count: int) -> list[Verdict]:
    """Return what ``verdict`` gave as a list of what should be verdicts, one more than expected at most."""
    if not _is_list(returned):
        if inspect.iscoroutine(returned):
            returned.close()  # else Python warns that nobody awaited it
        raise Rubbish(
            f"returned {_named(returned)} where a list with one Verdict for each of its {count} items was expected: "
            "return [DONE] * len(items), or [dead(reason)] * len(items)"
        )
    return list(islice(cast(Iterable[Verdict], returned), count + 1))


def _batches(tool: BoundTool, sends: Sequence[Send]) -> Iterator[Batch]:
    packed: object = tool.pack(tuple(sends))
    if not _is_list(packed):
        if inspect.iscoroutine(packed):
            packed.close()  # else Python warns that nobody awaited it
        advice = "yield it, or return it in a list" if isinstance(packed, Packed) else "yield Packed(request, items)"
        raise Rubbish(f"returned {_named(packed)} where requests were expected: {advice}", definition(tool.pack))
    for one in cast(Iterable[object], packed):
        try:
            yield _batch(one, len(sends))
        except Rubbish as slip:
            raise Rubbish(str(slip), yield_place(packed, tool.pack)) from None


def _batch(one: object, most: int) -> Batch:
    if not isinstance(one, Packed):
        raise Rubbish(f"yielded {_named(one)} where Packed(request, items) was expected")
    if not isinstance(one.request, HttpRequest | Write | Call):
        raise Rubbish(f"yielded Packed with {_named(one.request)} where its HttpRequest was expected")
    if not isinstance(one.items, Iterable):
        raise Rubbish(f"yielded Packed whose items are {_named(one.items)}, not a list of those that came")
    items = tuple(islice(one.items, most + 1))  # once: a generator gives its items a single time
    if not items:
        raise Rubbish("yielded a request without items")
    return Batch(one.request, items)


def _check_complete(tool: BoundTool, batches: Sequence[Batch], sends: Sequence[Send]) -> None:
    found = [id(send) for batch in batches for send in batch.sends]
    if sorted(found) != sorted(map(id, sends)):
        raise Rubbish(
            "did not give back each of its items exactly once (the same objects, not copies)", definition(tool.pack)
        )


def _check_verdicts(given: Sequence[object], sends: Sequence[Send]) -> None:
    if len(given) > len(sends):
        raise Rubbish(f"returned more verdicts than its {len(sends)} items")
    if len(given) < len(sends):
        raise Rubbish(f"returned {len(given)} verdicts for {len(sends)} items")
    for one in given:
        if not isinstance(one, Verdict) or one.kind not in {"done", "retry", "later", "dead", "refused"}:
            raise Rubbish(f"returned {_named(one)} where a Verdict was expected, such as DONE or dead(reason)")
        _check_words(one.reason, one.after_s)


def _check_words(reason: object, after_s: object) -> None:
    if not isinstance(reason, str):
        raise Rubbish(f"returned a Verdict whose reason is {type(reason).__name__}, not text")
    if after_s is None:
        return
    if isinstance(after_s, bool) or not isinstance(after_s, int | float) or not isfinite(after_s) or after_s < 0:
        raise Rubbish(f"returned a Verdict whose after_s is {_kind(after_s)}, not None or a number of seconds")


def _named(value: object) -> str:
    """Return the kind of what was given, never its value."""
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _kind(value: object) -> str:
    """Return the kind of a value, and of a number what is wrong with it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "negative" if value < 0 else "not finite"
    return type(value).__name__
