"""The records of the event log, as a handler of a site's own gets them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from eventmw.logs import LOGGER


class _Keeping(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextlib.contextmanager
def captured(level: int = logging.DEBUG) -> Iterator[list[logging.LogRecord]]:
    """Return the list into which they come."""
    handler = _Keeping()
    logger = logging.getLogger(LOGGER)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield handler.records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def fields(records: Sequence[logging.LogRecord], event_type: str) -> list[dict[str, Any]]:
    """Return what the records of one type say, with their level."""
    standard = {*vars(logging.makeLogRecord({})), "message", "asctime"}
    return [
        {"level": made.levelname} | {name: value for name, value in vars(made).items() if name not in standard}
        for made in records
        if made.getMessage() == event_type
    ]


def everything(records: Sequence[logging.LogRecord]) -> str:
    """Return all that any handler could write of these records."""
    return "\n".join(repr(vars(made)) for made in records)
