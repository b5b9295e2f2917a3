"""The form of structured logs: our own formatter, other people's, and what can never break a line."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import logging.handlers
import math
import queue
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pythonjsonlogger.json import JsonFormatter as PythonJsonLogger

from eventmw.logs import EVENT_TYPES, LOGGER, JsonFormatter, printable
from eventmw.watching.eventlog import EventLog, _ToStderr
from tests.eventlog import captured
from tests.strategies import VALUES

texts = st.text(st.characters())  # surrogates and controls among them


def record(message: str = "x", **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("site", logging.INFO, __file__, 1, message, (), None)
    vars(made).update(fields)
    return made


@given(texts, st.dictionaries(texts.filter(lambda name: not hasattr(record(), name)), VALUES | st.floats() | texts))
def test_any_record_is_one_line_of_json(message: str, fields: dict[str, Any]) -> None:
    line = JsonFormatter().format(record(message, **fields))
    assert line.isascii()
    assert line.isprintable()
    decoded = json.loads(line, parse_constant=pytest.fail)
    assert decoded["logger"] == "site"
    if "message" not in fields and "%" not in message:
        assert decoded["message"] == message
    for name, value in fields.items():
        if isinstance(value, str):
            assert decoded[name + "_" * (name in {"time", "level", "logger"})] == value


@pytest.mark.parametrize("value", [math.nan, {1, 2}, object(), {("a",): 1}, b"x"])
def test_what_is_no_json_is_shown_all_the_same(value: object) -> None:
    assert json.loads(JsonFormatter().format(record(field=value)))["field"]


def test_what_holds_itself_is_shown_all_the_same() -> None:
    inside: list[Any] = []
    inside.append(inside)
    assert json.loads(JsonFormatter().format(record(field=inside)))["field"] == "[[...]]"


def test_a_whole_line() -> None:
    made = record("hello %s", status=200, host="vendor.example")
    made.args, made.created = ("you",), 1_790_000_000.25
    assert json.loads(JsonFormatter().format(made)) == {
        "time": "2026-09-21T14:13:20.250+00:00",
        "level": "INFO",
        "logger": "site",
        "message": "hello you",
        "status": 200,
        "host": "vendor.example",
    }


def test_an_exception_and_a_stack_stand_in_the_line() -> None:
    try:
        raise ValueError("so it goes")
    except ValueError:
        made = record()
        made.exc_info, made.stack_info = sys.exc_info(), "Stack (most recent call last):"
    decoded = json.loads(JsonFormatter().format(made))
    assert decoded["exception"].endswith("ValueError: so it goes")
    assert decoded["stack"].startswith("Stack")


@given(texts)
def test_printable_text_is_left_alone_and_all_other_becomes_so(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert not text.isprintable() or shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a\\nb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x7f\x85", "\\x7f\\x85"),
        ("\u202e", "\\u202e"),
        ("\ud800", "\\ud800"),
        ("é", "é"),
    ],
)
def test_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_python_json_logger_takes_every_field_up() -> None:
    with captured() as records:
        EventLog().say("client_request", logging.INFO, tool="ga4", status=204, host=None, outcomes={"delivered": 2})
    (made,) = records
    assert made.getMessage() == "client_request"
    assert json.loads(PythonJsonLogger().format(made)) == {
        "message": "client_request",
        "event_type": "client_request",
        "tool": "ga4",
        "status": 204,
        "outcomes": {"delivered": 2},
    }


def test_no_field_gets_in_the_way_of_logging() -> None:
    """``extra`` may not name what a record has; and a queue handler must be able to hand the records on."""
    line: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(line)
    with captured():
        logging.getLogger(LOGGER).addHandler(handler)
        try:
            for event_type in EVENT_TYPES:
                EventLog().say(event_type, logging.INFO, tool="a\nb", path="/x", host="h", reason="r", kind="http")
        finally:
            logging.getLogger(LOGGER).removeHandler(handler)
    passed = [line.get_nowait() for _ in EVENT_TYPES]
    assert [vars(made)["event_type"] for made in passed] == list(EVENT_TYPES)
    assert {vars(made)["tool"] for made in passed} == {"a\\nb"}


def test_what_is_not_wanted_is_not_made() -> None:
    with captured(logging.WARNING) as records:
        EventLog().say("outcomes", logging.INFO, tool="a")
        EventLog().say("outcomes", logging.WARNING, tool="a")
    assert [made.levelno for made in records] == [logging.WARNING]


def test_a_filter_that_raises_costs_nothing_but_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_: logging.LogRecord) -> bool:
        raise ZeroDivisionError("a secret")

    logger = logging.getLogger(LOGGER)
    logger.addFilter(broken)
    try:
        with captured() as records:
            EventLog().say("outcomes", logging.ERROR)
    finally:
        logger.removeFilter(broken)
    assert records == []
    assert capsys.readouterr().err == "eventmw: a logging filter or handler raised ZeroDivisionError\n"


JSON_SITE = """
import logging, sys
logging.basicConfig(format="SITE %(message)s")
from eventmw.wsgi import EventsMiddleware
from tests.calls import SEED, ask_wsgi
for _ in range(2):
    app = EventsMiddleware(lambda e, s: [], path="/zaraz/api", logs="json", data_dir=sys.argv[1])
ask_wsgi(app, "POST", "/zaraz/api", SEED)
logging.getLogger("other").warning("of the site")
"""


def test_json_goes_to_stderr_once_and_to_no_handler_of_the_sites(tmp_path: Any) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", JSON_SITE, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    answered, others = ran.stderr.splitlines()
    line = json.loads(answered)
    assert (line["event_type"], line["level"], line["logger"], line["status"]) == (
        *("server_response", "INFO", "eventmw.events"),
        200,
    )
    assert others == "SITE of the site"


def test_json_goes_to_what_stderr_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notebooks and tests replace it, and may close what was there before."""
    handler, stream, closed = _ToStderr(), io.StringIO(), io.StringIO()
    handler.setFormatter(JsonFormatter())
    closed.close()
    for current in (closed, None, stream):
        monkeypatch.setattr(sys, "stderr", current)
        with contextlib.suppress(ValueError):
            handler.handle(record())
    assert json.loads(stream.getvalue())["message"] == "x"


def test_a_closed_stderr_costs_the_site_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    handler = _ToStderr()
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger(LOGGER)
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(sys, "stderr", closed)
    EventLog().say("outcomes", logging.ERROR)
