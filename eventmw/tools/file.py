r"""File: events as JSON Lines, appended to a file.

Layer: pure rules. Source: https://jsonlines.org for the format: UTF-8, one JSON value a line, ``\n`` after each.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from eventmw.contract import Delivery, When
from eventmw.effects import Packed, Send, Write
from eventmw.errors import ConfigError
from eventmw.event import Event
from eventmw.jsontext import encode
from eventmw.toolkit.eventjson import as_json

_DELIVERY: Final = Delivery(ordered=True)


@dataclass(frozen=True, slots=True)
class File:
    """Append events to a file, in order; ``id`` in a line tells a second delivery of an event from a first.

    Attributes:
        path: the file; made when it is not there, its folder is not.
        cookies: write the visitor's cookies as well.
        id: the tool's durable id.
        when: which events it gets; None for all.
        delivery: order, time-outs and caps.

    Raises:
        ConfigError: the path is empty or names no file.
    """

    path: str | os.PathLike[str]
    cookies: bool = False
    id: str = "file"
    when: When = None
    delivery: Delivery = _DELIVERY

    def __post_init__(self) -> None:
        path = os.fspath(self.path)
        if path in {"", "-"} or "\0" in path or path.endswith("/"):
            raise ConfigError(["File: path must name a file, such as 'events.jsonl'; Console() is for standard output"])
        object.__setattr__(self, "path", path)

    def handle(self, event: Event) -> Iterator[Send]:
        """Want one line."""
        data = encode(as_json(event, cookies=self.cookies)) + b"\n"
        yield Send(data, size=len(data))

    def pack(self, items: Sequence[Send]) -> Iterable[Packed]:
        """Append all lines at once."""
        data = b"".join(item.payload for item in items)
        return (Packed(Write(os.fspath(self.path), data), items),) if items else ()
