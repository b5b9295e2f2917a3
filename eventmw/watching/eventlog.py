"""Writes the events of the log to Python's logging, and names eventmw in its records. See `eventmw.logs` for what they are.

Layer: input and output.
"""

from __future__ import annotations

import logging
import re
import sys
from contextlib import suppress
from typing import Final, TextIO

from eventmw.logs import LOGGER, EventType, Field, JsonFormatter, printable

_log: Final = logging.getLogger(LOGGER)


class EventLog:
    """Says what happened on the logger ``eventmw.events``. What is not wanted at a level is not even put together."""

    __slots__ = ()

    def wants(self, level: int) -> bool:
        """Return whether records of this level go anywhere."""
        return _log.isEnabledFor(level)

    def say(self, event_type: EventType, level: int, /, **fields: Field) -> None:
        """Write one record. Fields that are None are left out.

        A filter or handler of the site's own that raises must not cost it a request or an event: then nothing is written.
        """
        if not _log.isEnabledFor(level):
            return
        extra = {name: _clean(value) for name, value in fields.items() if value is not None}
        try:
            _log.log(level, event_type, extra={"event_type": event_type, **extra})
        except Exception as error:  # noqa: BLE001 - as said above; and the log is the wrong place to say it
            _complain(error)


def _clean(value: Field) -> Field:
    return printable(value) if isinstance(value, str) else value


def _complain(error: Exception) -> None:
    """Do as logging does with a handler that fails: tell stderr, while Python is told to."""
    if logging.raiseExceptions and sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison] - pythonw has none
        with suppress(Exception):  # stderr itself may be closed
            print(f"eventmw: a logging filter or handler raised {type(error).__name__}", file=sys.stderr)  # noqa: T201


class _ToStderr(logging.StreamHandler):  # type: ignore[type-arg]  # at run time it takes none before 3.11.4
    """Our own handler: found again when a second site of the process asks for it.

    It writes to what ``sys.stderr`` is at that moment, as `logging.lastResort` does: tests and notebooks replace it.
    """

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """Standard error, as it is now."""
        return sys.stderr


def write_json_to_stderr() -> None:
    """Write the events as JSON Lines to stderr, from INFO up unless the logger has a level of its own; once a process.

    They go there alone: the site's other handlers would write them a second time.
    """
    if any(isinstance(handler, _ToStderr) for handler in _log.handlers):
        return
    handler = _ToStderr()
    handler.setFormatter(JsonFormatter())
    _log.addHandler(handler)
    _log.propagate = False
    if _log.level == logging.NOTSET:
        _log.setLevel(logging.INFO)


class _Naming(logging.Handler):
    """Names eventmw in records that nothing else would name it in. It is on the logger ``eventmw``, below the site's own.

    Where no handler is configured (a plain uvicorn, gunicorn or Django), Python would print the bare message: this prints
    time, level and ``eventmw:`` before it. Where handlers are configured and none of their formats shows the logger's name,
    ``eventmw: `` is put before the message. Where one does, the record stays as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s eventmw: %(message)s"))

    def handle(self, record: logging.LogRecord) -> bool:
        """Act on a record before the handlers of the loggers above see it."""
        others = _others(record.name)
        last = logging.lastResort
        if not others and last is not None and record.levelno >= last.level:
            self.emit(record)
        elif others and record.name != LOGGER and not any(map(_shows_name, others)):
            record.msg = f"eventmw: {record.msg}"
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record to stderr, as `logging.lastResort` does."""
        try:
            if sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison] - pythonw has none
                sys.stderr.write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 - logging decides what becomes of it
            self.handleError(record)


def _others(name: str) -> list[logging.Handler]:
    """Return the handlers, beside `_Naming`, that a record of this logger reaches."""
    found: list[logging.Handler] = []
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        found += [handler for handler in logger.handlers if not isinstance(handler, _Naming | logging.NullHandler)]
        logger = logger.parent if logger.propagate else None
    return found


_names = re.compile(r"%\(name\)|\{name|\$\{?name\b").search


def _shows_name(handler: logging.Handler) -> bool:
    """Return whether a handler's lines hold the logger's name, or may: of a formatter of another kind nothing is known."""
    formatter = handler.formatter
    if formatter is None:
        return False
    if type(formatter).format is not logging.Formatter.format:
        return True
    return bool(_names(str(getattr(formatter, "_fmt", ""))))


def name_records() -> None:
    """Make every record of eventmw's loggers name it, see `_Naming`; once a process."""
    logger = logging.getLogger("eventmw")
    if not any(isinstance(handler, _Naming) for handler in logger.handlers):
        logger.addHandler(_Naming())
