"""docs/operations.md says what is so: its metrics, its fields, its rules and its settings."""

from __future__ import annotations

import json
import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from eventmw.logs import EVENT_TYPES
from eventmw.settings import complete, from_toml
from eventmw.watching.exposition import Sighting, families
from tests.eventlog import captured, fields
from tests.test_pages import KEY, hook
from tests.test_watching_delivery import broken, delivered
from tests.test_watching_requests import watched

yaml: Any = import_module("yaml")
PAGE = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
STATS = {"durability": "memory", "bytes": 0, "cap_bytes": 1, "records": 0, "events": 0, "tools": {}}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def rows(first: str) -> dict[str, list[str]]:
    """Return the rows of the table whose first head is `first`: first cell → the others."""
    (table,) = re.findall(rf"^\| {first} \|.*?\n\|[- |]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0].strip("`"): row[1:] for row in cells}


def shown() -> dict[str, Any]:
    """Return the families by the name that the page gives them."""
    made = families([Sighting("1", STATS, {})], 0, 0)
    return {family.name + {"counter": "_total", "info": "_info"}.get(family.type, ""): family for family in made}


def test_the_table_of_metrics_is_what_is_shown() -> None:
    told, families = rows("metric"), shown()
    assert set(told) == set(families)
    for name, (kind, labels, _) in told.items():
        assert families[name].type == kind, name
        if kind != "info":
            named = tuple(re.findall(r"`(\w+)`", labels))
            assert families[name]._labelnames == named, name


def test_the_table_of_logs_is_what_is_said() -> None:
    told = {event_type: set(re.findall(r"`(\w+)`", cells[2])) for event_type, cells in rows("`event_type`").items()}
    assert tuple(told) == EVENT_TYPES
    seen: dict[str, set[str]] = {event_type: set() for event_type in EVENT_TYPES}
    with watched(tools=[hook, broken]) as pair, captured() as records:
        pair.post({"events": [{"client": 1}]})
        delivered(pair, "x")
        delivered(pair, "x", ecommerce=True)
    for event_type in EVENT_TYPES:
        for said in fields(records, event_type):
            seen[event_type] |= said.keys() - {"level", "event_type"}
    assert seen["client_request"] | {"error"} == told["client_request"]
    assert {name: found for name, found in seen.items() if name != "client_request"} == {
        name: found for name, found in told.items() if name != "client_request"
    }


def test_the_line_of_json_is_one_of_ours() -> None:
    (line,) = blocks("json")
    decoded = json.loads(line)
    cells = rows("`event_type`")[decoded["event_type"]]
    assert set(decoded) - {"time", "level", "logger", "message", "event_type"} <= set(re.findall(r"`(\w+)`", cells[2]))


def test_the_settings_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = blocks("toml")
    assert tomllib.loads(text)["logs"] == "json"
    monkeypatch.setenv("METRICS_KEY", KEY)
    file = tmp_path / "eventmw.toml"
    file.write_text(text)
    config = complete(from_toml(file))
    assert (config.metrics_path, config.ready_path) == ("/zaraz/metrics", "/zaraz/ready")
    assert config.metrics_keys == {"metrics": KEY}


def test_the_scrape_and_the_rules_load_and_name_what_there_is() -> None:
    scrape, rules = map(yaml.safe_load, blocks("yaml"))
    (job,) = scrape["scrape_configs"]
    assert job["metrics_path"] == "/zaraz/metrics"
    assert job["authorization"]["type"] == "Bearer"
    (group,) = rules["groups"]
    assert len(group["rules"]) >= 3
    for rule in group["rules"]:
        assert {"alert", "expr", "labels", "annotations"} <= set(rule)
        assert rule["expr"].count("(") == rule["expr"].count(")")
        named = set(re.findall(r"eventmw_\w+", rule["expr"]))
        assert named
        assert named <= set(shown())


def test_the_python_block_runs() -> None:
    (code,) = blocks("python")
    logging = import_module("logging")
    logger = logging.getLogger("eventmw.events")
    before = (list(logger.handlers), logger.level)
    try:
        exec(code, {})
        assert len(logger.handlers) == len(before[0]) + 1
    finally:
        logger.handlers[:], logger.level = before[0], before[1]
        logger.setLevel(before[1])
