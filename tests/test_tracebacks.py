"""What is shown of an exception of the owner's code, and what is masked."""

from __future__ import annotations

import json
import logging
import os
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.errors import Misuse, Reject
from eventmw.secret import Secret, reveal, without_secrets
from eventmw.tracebacks import MAX_KINDS, Troubles, describe, format_lines, text_of
from tests.delivering import placed

EMPTY: dict[str, Any] = {}
NAME, EMAIL, CARD = "Anna Schmidt", "anna@example.com", "4111 1111 1111 1111"


def raised(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def raises(error: BaseException) -> Callable[[], object]:
    def function() -> object:
        raise error

    return function


def fails_inside(error: BaseException) -> Callable[[], object]:
    """Have a library raise: what it says is of its own making."""
    inside: dict[str, Any] = {"error": error}
    exec(compile("def call():\n    raise error\n", "/site-packages/driver.py", "exec"), inside)
    call: Callable[[], object] = inside["call"]
    return call


class OperationalError(Exception):
    """As the drivers of databases name it, PEP 249."""


class IntegrityError(Exception):
    """As above."""


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError(NAME)

    __repr__ = __str__


def without_table() -> object:
    with closing(sqlite3.connect(":memory:")) as connection:
        return connection.execute("SELECT * FROM orders")


def without_server() -> object:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    return socket.create_connection(("127.0.0.1", port))


def recursive() -> object:
    return recursive()


SHOWN: list[tuple[Callable[[], Any], str]] = [
    (lambda: {"value": 1}["vlaue"], "KeyError: 'vlaue'"),
    (lambda: os.environ["EVENTMW_NOT_THERE"], "KeyError: 'EVENTMW_NOT_THERE'"),
    (lambda: getattr(None, "upper"), "AttributeError: 'NoneType' object has no attribute 'upper'"),  # noqa: B009 - so that type checkers pass
    (lambda: json.dumps(object()), "TypeError: Object of type object is not JSON serializable"),
    (lambda: int(NAME), "ValueError: invalid literal for int() with base 10: '…'"),
    (lambda: datetime.fromisoformat(NAME), "ValueError: Invalid isoformat string: '…'"),
    (lambda: json.loads("{x"), "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    (without_table, "OperationalError: no such table: orders"),
    (without_server, "ConnectionRefusedError: [Errno 111] Connection refused"),
    (fails_inside(OperationalError('server at "10.1.2.3", port 5432 failed: Connection refused\nDETAIL: ' + NAME)),
     'OperationalError: server at "…", port 5432 failed: Connection refused'),
    (fails_inside(IntegrityError(f"Duplicate entry '{NAME}' for key 'email'")), "IntegrityError: Duplicate entry '…' for key '…'"),
    (recursive, "RecursionError: maximum recursion depth exceeded"),
    (raises(ValueError(f"no price for {NAME}")), "ValueError"),
    (raises(KeyError(NAME + str(len(NAME)))), "KeyError"),
    (lambda: dict[str, int]()[NAME + str(len(NAME))], "KeyError: '…'"),
    (lambda: Path("/" + NAME + str(len(NAME))).read_bytes(), "FileNotFoundError: [Errno 2] No such file or directory: '…'"),
    (lambda: Path("/not/there").read_bytes(), "FileNotFoundError: [Errno 2] No such file or directory: '/not/there'"),
    (raises(TimeoutError(f"no reply for {NAME}")), "TimeoutError"),
    (raises(OperationalError(f"no reply for {NAME}")), "OperationalError"),
    (raises(SystemExit(NAME + "!")), "SystemExit"),
    (raises(Unspeakable()), "Unspeakable"),
    (raises(KeyboardInterrupt()), "KeyboardInterrupt"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "words"), SHOWN, ids=[words[:24] for _, words in SHOWN])
def test_what_is_shown_of_each_kind(function: Callable[[], object], words: str) -> None:
    error = raised(function)
    line, trace = describe(error), format_lines(error)
    assert placed(line) in {f"raised {words}", f"raised {words} (test_tracebacks.py)"}
    assert (
        trace.splitlines()[-1].partition("(its text")[0].removesuffix(": ").split(".")[-1]
        == words.rsplit(".", maxsplit=1)[-1]
    )
    for shown in (line, trace):
        assert NAME not in shown
        assert "Traceback" in trace
    assert len(trace) < 8000


def test_a_text_that_is_a_literal_of_the_code_is_shown() -> None:
    def price() -> object:
        raise ValueError("order 7 has no price")

    assert placed(describe(raised(price))) == "raised ValueError: order 7 has no price (test_tracebacks.py)"
    assert 'raise ValueError("order 7 has no price")' in describe(raised(price)), "and so is the line"


PRIVATE = [
    (EMAIL, "anna"),
    ("order 4711000123 is late", "4711000123"),
    (f"card {CARD} was refused", "1111"),
    ("+49 151 234 567 89 does not answer", "234"),
    ("postgresql://shop:hunter2@db.example:5432/shop?sslkey=abc", "hunter2"),
    ("postgresql://shop:hun/ter2@db.example:5432/shop", "ter2"),
    ("https://hooks.example/services/T0/B0/xyz?x=1", "xyz"),
    ("Max retries exceeded with url: /v1/x?token=abc", "abc"),
    ("connection with password=hunter2 failed", "hunter2"),
    ('{"api_key": "hunter2"}', "hunter2"),
    ("Authorization: Bearer abcdefgh", "abcdefgh"),
    ("no such key sk_live_51HabcDEF0123456", "51Habc"),
    ("visitor 203.0.113.77 is unknown", "203.0"),
    ("visitor 2001:db8::1:2:3 is unknown", "db8"),
]


@pytest.mark.parametrize(("text", "private"), PRIVATE, ids=[text[:20] for text, _ in PRIVATE])
def test_what_people_and_secrets_are_found_by_is_masked_in_every_text(text: str, private: str) -> None:
    error = raised(fails_inside(OperationalError(text)))
    for shown in (describe(error), format_lines(error)):
        assert private not in shown
    assert private in format_lines(error, "full"), "what asks for all of it gets it"
    assert private not in describe(error, "off")


def test_ports_and_error_numbers_stay() -> None:
    text = 'connection to "localhost", port 5432 failed, Errno 10061, line 1204'
    assert text_of(raised(fails_inside(OperationalError(text)))) == text


def test_source_lines_are_masked_as_texts_are() -> None:
    def connect() -> object:
        return EMPTY["postgres://shop:hunter2@db/x?y=1"], dict(password="hunter3", mail="anna@example.com")  # noqa: C408

    trace = format_lines(raised(connect))
    assert "connect" in trace
    for private in ("hunter", "anna@"):
        assert private not in trace


@given(st.text(min_size=6, max_size=30).filter(str.strip))
def test_what_was_revealed_is_in_no_text_of_any_mode(secret: str) -> None:
    reveal(Secret(secret))
    error = raised(raises(OperationalError(f"refused: <{secret}>")))
    assert secret not in without_secrets(f"a{secret}b")
    for shown in (describe(error), describe(error, "full"), format_lines(error), format_lines(error, "full")):
        assert f"<{secret}>" not in shown


def test_a_secret_in_use_is_masked_however_many_came_before() -> None:
    for number in range(3000):
        Secret(f"secret number {number}").reveal()
        Secret("the site's own secret").reveal()
    text = without_secrets("secret number 2999 and the site's own secret")
    assert "secret number" not in text
    assert "own" not in text


def test_causes_and_members_of_groups_are_shown_and_our_frames_are_not() -> None:
    def chained() -> object:
        try:
            return int(NAME)
        except ValueError as error:
            raise OperationalError("no such table: orders") from error

    trace = format_lines(raised(chained))
    assert trace.index("invalid literal") < trace.index("direct cause") < trace.index("no such table")
    group = BaseExceptionGroup(
        NAME, [raised(lambda: EMPTY["vlaue"]), raised(raises(ExceptionGroup("inner", [Unspeakable()])))]
    )
    error = raised(raises(group))
    assert placed(describe(error)).startswith("raised ExceptionGroup of 2, the first KeyError: 'vlaue'")
    trace = format_lines(error)
    assert "1 of 2" in trace
    assert "KeyError: 'vlaue'" in trace
    assert "Unspeakable" in trace
    assert NAME not in trace


def test_a_chain_that_bites_its_tail_ends() -> None:
    first, second = OperationalError("first"), OperationalError("second")
    first.__cause__, second.__cause__ = second, first
    assert format_lines(first).count("OperationalError") == 2


def test_a_huge_text_is_cut_and_control_characters_forge_no_line() -> None:
    error = raised(raises(OperationalError("x " * 10_000 + "\n\x1b[31mforged")))
    assert len(describe(error)) < 600
    assert "\x1b" not in format_lines(error, "full") + describe(raised(raises(OperationalError("\x1b[31m"))))


def test_each_kind_of_trouble_is_logged_once_and_counted_later(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles("crm")

    def missing() -> object:
        return EMPTY["vlaue"]

    reasons = {troubles.note("handle", raised(missing)) for _ in range(100)}
    assert len(reasons) == 1
    first, tenth, hundredth = [record.getMessage() for record in caplog.records]
    assert first.startswith("tool crm: handle raised KeyError: 'vlaue' (test_tracebacks.py:")
    assert first.splitlines()[1] == "Traceback (most recent call last):"
    assert first.splitlines()[-1] == "KeyError: 'vlaue'"
    assert tenth.endswith("; so far 10 times")
    assert hundredth.endswith("; so far 100 times")
    troubles.note("handle", raised(lambda: EMPTY["vlaue"]))
    assert len(caplog.records) == 4, "another line is another kind"


def test_kinds_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles("crm")
    for number in range(2 * MAX_KINDS):
        troubles.note(f"part {number}", raised(raises(ValueError())))
    assert len(caplog.records) == MAX_KINDS


@pytest.mark.parametrize("mode", ["masked", "full", "off"])
def test_the_setting_decides_what_the_log_shows_and_never_what_is_kept(
    mode: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        kept = Troubles("crm", mode).note("handle", raised(raises(ValueError(f"no price for {NAME}"))))
    assert NAME not in kept, "an erasure would not find it there"
    assert (NAME in caplog.text) is (mode == "full")
    assert ("Traceback" in caplog.text) is (mode != "off")


def test_a_misuse_is_told_with_its_place_and_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    assert Troubles("crm").note("handle", raised(raises(Misuse("yielded dict", "crm.py:3 in crm")))) == (
        "handle yielded dict (crm.py:3 in crm)"
    )
    assert "Traceback" not in caplog.text
    assert "which is for consumers" in describe(raised(raises(Reject("no such customer"))))
