"""Batches: a tool's ``pack`` and ``verdict``, called so that what they raise or return harms only the tool's own events.

Layer: pure rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from eventmw.contract import BoundTool, verdict_by_status
from eventmw.effects import Call, Order, Packed, Send, Verdict, Write, retry
from eventmw.errors import Misuse, told
from eventmw.http import HttpReply, HttpRequest


@dataclass(slots=True, eq=False)
class Batch:
    """One request and the sends it carries.

    ``failures`` counts how often it failed as a whole. A ``suspect`` failed while others passed.
    """

    order: Order
    sends: Sequence[Send]
    failures: int = 0
    suspect: bool = False


class Rubbish(Misuse):
    """A tool returned something that its contract does not allow. The message tells what, without values."""


def pack(tool: BoundTool, sends: Sequence[Send], bad: Callable[[Send, str], None]) -> list[Batch]:
    """Return the batches that a tool makes of sends; every send is in exactly one, or was given to `bad` with a reason.

    When ``pack`` fails, it is tried with each half, so that one payload that it cannot take does not take others with it.
    """
    try:
        packed = list(islice(tool.pack(tuple(sends)), len(sends) + 1))
        _check_packed(packed, sends)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a tool harms only itself, whatever it raises
        if len(sends) == 1:
            bad(sends[0], f"pack {told(error)}")
            return []
        middle = len(sends) // 2
        return pack(tool, sends[:middle], bad) + pack(tool, sends[middle:], bad)
    return [Batch(one.request, tuple(one.items)) for one in packed]


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
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - as above
        reason = f"verdict {told(error)}"
        plain = verdict_by_status(reply, batch.sends)[0]
        if plain.kind != "retry":
            raise Rubbish(reason) from None
        return [retry(f"{plain.reason}, and {reason}", plain.after_s)] * len(batch.sends)
    return given


def _check_packed(packed: Sequence[object], sends: Sequence[Send]) -> None:
    found: list[int] = []
    for one in packed:
        if not isinstance(one, Packed) or not isinstance(one.request, HttpRequest | Write | Call):
            raise Rubbish(f"yielded {type(one).__name__} where Packed(request, items) was expected")
        if not one.items:
            raise Rubbish("yielded a request without items")
        found += map(id, one.items)
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
