"""Console: one line on standard output for each event, to see what happens.

Layer: pure rules. Names and values come from strangers, so every character that could move a terminal's cursor, end a
line or turn the reading direction is written as an escape: an event cannot forge a line of the log.
Source: OWASP Logging Cheat Sheet, CWE-117.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from eventmw.contract import Delivery, When
from eventmw.effects import Packed, Send, Write
from eventmw.event import Event
from eventmw.formats import to_iso
from eventmw.jsontext import for_line
from eventmw.toolkit.eventjson import as_json

_DELIVERY: Final = Delivery(ordered=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """Print events.

    Attributes:
        json: write each event whole, as JSON Lines; else time, kind, name, id and properties for a reader.
        id: the tool's durable id.
        when: which events it gets; None for all.
        delivery: order, time-outs and caps.
    """

    json: bool = False
    id: str = "console"
    when: When = None
    delivery: Delivery = _DELIVERY

    def handle(self, event: Event) -> Iterator[Send]:
        """Want one line."""
        line = for_line(as_json(event)) if self.json else _for_people(event)
        data = f"{line}\n".encode()
        yield Send(data, size=len(data))

    def pack(self, items: Sequence[Send]) -> Iterable[Packed]:
        """Write all lines at once."""
        return (Packed(Write("-", b"".join(item.payload for item in items)), items),) if items else ()


def _for_people(event: Event) -> str:
    shown = (for_line(part) for part in (event.name, event.id, event.properties))
    return " ".join((to_iso(event.timestamp_ms), event.kind, *shown))
