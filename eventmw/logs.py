"""Structured logs: the events of the log, and a formatter that writes any record of Python's logging as one line of JSON.

With ``logs="logging"`` eventmw says what it does on the logger ``eventmw.events``, as ordinary records whose details are
``extra`` fields; handlers, levels and form are the site's own, so python-json-logger, structlog and their kin see them like
all others. `JsonFormatter` is for who has none yet::

    handler = logging.StreamHandler()
    handler.setFormatter(eventmw.logs.JsonFormatter())

No record holds a payload, a cookie, an address of a sender, a key or a secret.

Layer: vocabulary (standard library only). Source: the names of the event types are those of the data set ``zaraz_events`` in
Cloudflare's Logpush; ``outcomes`` and what each type says are ours.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

LOGGER: Final = "eventmw.events"
"""The name of the logger that gets them all."""

EventType = Literal[
    "server_request",  # a request came to our own API
    "server_response",  # it was answered
    "action_triggered",  # a tool was handed an event
    "ecommerce_triggered",  # the same, of an e-commerce event
    "client_request",  # a request went to a tool's vendor and was answered, or was not
    "component_error",  # a tool raised, or returned rubbish
    "outcomes",  # one step of a tool was committed: how many events ended how
]

EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)

Field = str | int | float | bool | None | dict[str, int]
"""What a field may hold. Texts come without control characters: they are written as escapes, such as ``\\n``."""

# What every record has; all else was given as ``extra``.
_OWN: Final = frozenset((*vars(logging.LogRecord("", 0, "", 0, "", (), None)), "message", "asctime", "taskName"))


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON in ASCII, so that nothing in it can end the line or move a cursor.

    ``{"time": "2026-11-25T09:18:37.123+00:00", "level": "INFO", "logger": "eventmw.events", "message": …, …}``, then every
    ``extra`` field under its own name (``time_`` for one named ``time``), and ``exception`` and ``stack`` when there are
    any. Not limited to eventmw's records.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        given = {name: value for name, value in vars(record).items() if name not in _OWN}
        fields |= {(f"{name}_" if name in fields else name): value for name, value in given.items()}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = self.formatStack(record.stack_info)
        return _line(fields)


def _line(fields: dict[str, Any]) -> str:
    try:
        text = json.dumps(fields, default=repr, allow_nan=False)
    except (TypeError, ValueError, RecursionError):  # a key that is no text, NaN, something that holds itself
        text = json.dumps({name: value if isinstance(value, str) else repr(value) for name, value in fields.items()})
    return text.replace("\x7f", "\\u007f")  # the one control character that JSON lets stand, and ASCII has


def printable(text: str) -> str:
    """Return a text with its control characters as escapes: formatters of plain text would let them forge lines."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
