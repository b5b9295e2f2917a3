"""docs/query.md says what there is, and its examples work."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path

import pytest

from eventmw.archive.database import sqlite_address
from eventmw.eventbunker.calling import QUESTION_BYTES
from eventmw.eventbunker.charts import MAX_CELLS
from eventmw.eventbunker.pool import KEY_LINE, KEY_THREADS, LINE, PROJECT_LINE, PROJECT_THREADS, THREADS
from eventmw.query.language import SCHEMA, parse
from eventmw.query.question import COLUMNS
from eventmw.query.reading import MAX_VALUES_TOGETHER
from eventmw.query.run import Limits
from eventmw.query.sqlite import MAX_NUMBERS
from eventmw.schema import published
from tests.running import run
from tests.test_cli_query import fill, row

PAGE = (Path(__file__).parent.parent / "docs" / "query.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NAMED = set(re.findall(r"`([^`\n]+)`", PAGE))
COMMANDS = [
    line for kind, code in BLOCKS if kind == "sh" for line in code.splitlines() if line.startswith("eventmw query")
]


def test_every_key_op_and_function_is_named() -> None:
    properties = published(SCHEMA)["properties"]
    assert set(properties) <= NAMED
    assert set(properties["filters"]["items"]["properties"]["op"]["enum"]) <= NAMED
    functions = properties["computations"]["items"]["properties"]["function"]["pattern"].partition("|percentile")[0]
    assert set(functions.removeprefix("^(").split("|")) | {"percentile_N"} <= NAMED
    assert set(COLUMNS) <= NAMED


def test_the_limits_are_those_of_the_code() -> None:
    limits = Limits()
    assert f"{limits.max_groups:,} groups" in PAGE
    assert f"{limits.max_days:,} days" in PAGE
    assert f"{limits.max_bytes // 1024**2} MiB" in PAGE
    assert f"{limits.timeout_s:g} s, from reading the question to shaping its answer" in PAGE
    assert f"{limits.max_cells:,} cells" in PAGE
    assert f"page: {MAX_CELLS:,} cells" in PAGE
    assert f"{MAX_VALUES_TOGETHER:,} values in the arrays of all filters together" in PAGE
    assert f"{MAX_NUMBERS:,} numbers" in PAGE
    assert f"{QUESTION_BYTES // 1024} KiB of question" in PAGE
    assert (
        f"{KEY_THREADS} questions of one key at once, {PROJECT_THREADS} of a project, {THREADS} of the process" in PAGE
    )
    assert f"{KEY_LINE} of one key in the line, {PROJECT_LINE} of a project, {LINE} of the process" in PAGE


def test_the_questions_are_questions() -> None:
    questions = [json.loads(code) for kind, code in BLOCKS if kind == "json" and "time_period" in code.split("rows")[0]]
    questions += [json.loads(found) for found in re.findall(r"-d '(.*)'", PAGE)]
    assert len(questions) == 2
    for question in questions:
        parse(question, int(time.time() * 1000) + 10**11)


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_run(line: str, tmp_path: Path) -> None:
    fill(sqlite_address(tmp_path / "archive.sqlite3"), [row(number) for number in range(20)])
    (tmp_path / "question.json").write_text('{"group_by": ["plan"]}')
    ran = run(*shlex.split(line)[1:], cwd=tmp_path, EVENTMW_DATA_DIR=str(tmp_path), PYTHONIOENCODING="utf-8")
    assert ran.code == 0, ran.err
    assert ran.lines
