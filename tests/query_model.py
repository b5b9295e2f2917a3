"""A query's answer worked out in plain Python over plain rows, as docs/query.md says it; it shares no code with eventmw.query.

Also the strategies that make rows, keys and queries: names and values are small, so that they meet, and odd.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from eventmw.keys import Key

NOW_MS = 1_730_619_000_000  # 2024-11-03T07:30Z: clocks have just changed in New York
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
COLUMNS = {
    "timestamp": "time_ms",
    "event_name": "event_name",
    "customer_identifier": "customer_identifier",
    "metric_name": "metric_name",
    "unique_req_id": "event_id",
    "time_recorded": "recorded_ms",
}
TIMES = {"timestamp", "time_recorded"}
GONE = object()
Row = dict[str, Any]
Path = tuple[str, ...]


def named(path: Path) -> str:
    return ".".join("".join("\\" + char if char in ".\\" else char for char in step) for step in path)


def split(name: str) -> Path:
    steps, at = [""], 0
    while at < len(name):
        if name[at] == "\\":
            at += 1
            steps[-1] += name[at]
        elif name[at] == ".":
            steps.append("")
        else:
            steps[-1] += name[at]
        at += 1
    return tuple(steps)


def value_of(row: Row, name: str) -> Any:
    path = split(name)
    if len(path) == 1 and path[0] in COLUMNS:
        found = row[COLUMNS[path[0]]]
        return GONE if found is None else found
    inner: Any = row["fields"]
    for step in path:
        if not isinstance(inner, dict) or step not in inner:
            return GONE
        inner = inner[step]
    return [read(member) for member in inner] if isinstance(inner, list) else read(inner)


def read(value: Any) -> Any:
    """Integers that have no 64 bits are doubles."""
    return float(value) if type(value) is int and not -(2**63) <= value < 2**63 else value


def kind(value: Any) -> str:
    return {bool: "boolean", int: "number", float: "number", str: "text"}.get(type(value), "other")


def stored(value: Any) -> Any:
    """Any value as the archive keeps it: with the picture of U+0000 in its place, in names as well."""
    match value:
        case str():
            return value.replace("\0", "\u2400")
        case list():
            return [stored(member) for member in value]
        case dict():
            return {stored(name): stored(member) for name, member in value.items()}
        case _:
            return value


def alike(one: Any, other: Any) -> bool:
    return kind(one) == kind(other) != "other" and one == other


# Filters


def members(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else [value]


def compares(op: str, value: Any, wanted: Any) -> bool:
    if kind(value) != kind(wanted):
        return False
    tests: dict[str, Callable[[Any, Any], bool]] = {
        "greater_than": lambda one, other: one > other,
        "greater_than_or_equals": lambda one, other: one >= other,
        "less_than": lambda one, other: one < other,
        "less_than_or_equals": lambda one, other: one <= other,
        "contains": lambda one, other: other in one,
        "starts_with": lambda one, other: one.startswith(other),
        "ends_with": lambda one, other: one.endswith(other),
    }
    return tests[op](value, wanted)


def fulfils(row: Row, name: str, op: str, wanted: Any = None) -> bool:  # noqa: PLR0911 - a branch for each op
    value = value_of(row, name)
    wanted = [read(one) for one in wanted] if isinstance(wanted, list) else read(wanted)
    match op:
        case "exists":
            return value is not GONE
        case "is_not_null":
            return value is not GONE and value is not None
        case "not_exists":
            return value is GONE
        case "is_null":
            return value is GONE or value is None
        case "not_equals" | "not_in" | "not_contains":
            return not fulfils(row, name, op.removeprefix("not_"), wanted)
        case "equals":
            return any(alike(member, wanted) for member in members(value))
        case "in":
            return any(alike(member, one) for member in members(value) for one in wanted)
        case _:
            return any(compares(op, member, wanted) for member in members(value))


def may_see(key: Key, row: Row) -> bool:
    if row["project_id"] != key.project_id:
        return False
    if key.customer is not None and row["customer_identifier"] != key.customer:
        return False
    for name, wanted in key.key_filter.items():
        if isinstance(wanted, dict | list | None) or not fulfils(row, name, "equals", wanted):
            return False
    return True


# Time


def moment(value: Any, zone: ZoneInfo) -> int:
    if isinstance(value, int):
        return value
    when = datetime.fromisoformat(value)
    when = when if when.tzinfo else when.replace(tzinfo=zone)
    return round(when.timestamp() * 1000)


def midnight(day: date, zone: ZoneInfo) -> int:
    return round(datetime.combine(day, time(), zone).timestamp() * 1000)


def hour_of(at_ms: int, zone: ZoneInfo) -> tuple[Any, ...]:
    local = datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(zone)
    return local.date(), local.hour, local.utcoffset()


def bucket(at_ms: int, interval: str, zone: ZoneInfo) -> int:
    local = datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(zone)
    match interval:
        case "minute":
            return at_ms - at_ms % 1000 - local.second * 1000
        case "hour":
            begin = at_ms - at_ms % 1000 - local.second * 1000
            while hour_of(begin - 60_000, zone) == hour_of(at_ms, zone):  # a change of clocks begins another one
                begin -= 60_000
            return begin
        case "day":
            return midnight(local.date(), zone)
        case "week":
            return midnight(local.date() - timedelta(days=local.weekday()), zone)
        case _:
            return midnight(local.date().replace(day=1), zone)


# Groups and what is computed of them


@dataclass(frozen=True)
class Near:
    """A double that may be off by rounding: it is a sum, and the order of summing is the database's."""

    value: float
    slack: float

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, int | float)
            and not isinstance(other, bool)
            and abs(other - self.value) <= 1e-9 * abs(self.value) + self.slack
        )


def key_of(value: Any) -> Any:
    """What a value is grouped by: scalars are, by kind; all else is null."""
    if kind(value) == "other":
        return None
    return (kind(value), value)


def rank(value: Any) -> tuple[Any, ...]:
    if value is None:
        return (0,)
    return ({"number": 1, "text": 2, "boolean": 3}[kind(value)], value)


def exactly(total: int) -> Any:
    return total if -(2**63) <= total < 2**63 else Near(float(total), 0)


def counts_events(function: str, name: str | None) -> bool:
    return function == "count" and name in (None, "*")


def computed(function: str, name: str | None, rows: list[Row]) -> Any:  # noqa: PLR0911 - a branch for each function
    if counts_events(function, name):
        return len(rows)
    values = [value_of(row, str(name)) for row in rows]
    match function:
        case "count":
            return sum(value is not GONE and value is not None for value in values)
        case "count_distinct":
            return len({key_of(value) for value in values} - {None})
    numbers = sorted(value for value in values if kind(value) == "number")
    if not numbers:
        return None
    slack = 1e-12 * sum(abs(number) for number in numbers)
    whole = all(isinstance(number, int) for number in numbers)
    match function:
        case "sum":
            return exactly(sum(numbers)) if whole else Near(math.fsum(numbers), slack)
        case "avg":
            return Near(math.fsum(numbers) / len(numbers), slack)
        case "min":
            return numbers[0]
        case "max":
            return numbers[-1]
    share = 0.5 if function == "median" else float(function.removeprefix("percentile_")) / 100
    place = share * (len(numbers) - 1)
    low, high = numbers[math.floor(place)], numbers[math.ceil(place)]
    return Near(float(low) + (place - math.floor(place)) * (float(high) - float(low)), slack)


def answer(query: dict[str, Any], key: Key, rows: list[Row]) -> tuple[list[tuple[Any, ...]], bool]:
    """The rows of the answer, and whether there were more than its limit."""
    query, rows = stored(query), stored(rows)
    key = replace(key, customer=stored(key.customer), key_filter=stored(dict(key.key_filter)))
    zone = ZoneInfo(query.get("time_zone", "UTC"))
    period = query["time_period"]
    begin, end = moment(period["from"], zone), moment(period["to"], zone)
    seen = [
        row
        for row in rows
        if may_see(key, row)
        and begin <= row["time_ms"] < end
        and all(fulfils(row, one["field_name"], one["op"], wanted_of(one, zone)) for one in query.get("filters", []))
    ]
    grouping = query.get("group_by") or query.get("interval") or query.get("computations")
    found = grouped(query, seen, zone) if grouping else listed(query, seen)
    limit = query.get("limit", 100 if not grouping else 10_000)
    return found[:limit], len(found) > limit


def wanted_of(one: dict[str, Any], zone: ZoneInfo) -> Any:
    if one["field_name"] not in TIMES or "value" not in one:
        return one.get("value")
    value = one["value"]
    return [moment(each, zone) for each in value] if isinstance(value, list) else moment(value, zone)


def listed(query: dict[str, Any], rows: list[Row]) -> list[tuple[Any, ...]]:
    rows = sorted(rows, key=lambda row: row["event_id"])
    for order in reversed(query.get("order_by") or [{"field_name": "timestamp", "direction": "desc"}]):
        name = order["field_name"]
        rows.sort(key=lambda row: rank(plain(value_of(row, name))), reverse=order.get("direction") == "desc")
    return [(*(row[column] for column in COLUMNS.values()), row["fields"]) for row in rows]


def plain(value: Any) -> Any:
    return None if kind(value) == "other" else value


def grouped(query: dict[str, Any], rows: list[Row], zone: ZoneInfo) -> list[tuple[Any, ...]]:
    names, interval = query.get("group_by", []), query.get("interval")
    computations = query.get("computations") or [{"function": "count"}]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        at = [bucket(row["time_ms"], interval, zone)] if interval else []
        groups.setdefault((*at, *(key_of(value_of(row, name)) for name in names)), []).append(row)
    if not names and not interval:
        groups.setdefault((), [])
    answers = [
        (*(part[1] if isinstance(part, tuple) else part for part in parts),
         *(times_too(one["function"], one.get("field_name"), members) for one in computations))
        for parts, members in groups.items()
    ]  # fmt: skip
    keys = len(names) + bool(interval)
    answers.sort(key=lambda line: [rank(cell) for cell in line[:keys]])
    titles = [*(["timestamp"] if interval else []), *names,
              *(title(one) for one in computations)]  # fmt: skip
    usual = [] if interval or not names else [{"field_name": titles[keys], "direction": "desc"}]
    for order in reversed(query.get("order_by") or usual):
        place = titles.index(order["field_name"])
        answers.sort(key=lambda line: rank(bare(line[place])), reverse=order.get("direction") == "desc")
    return answers


def times_too(function: str, name: str | None, rows: list[Row]) -> Any:
    if name in TIMES and function in {"min", "max"}:
        return {"min": min, "max": max}[function]((row[COLUMNS[str(name)]] for row in rows), default=None)
    return computed(function, name, rows)


def bare(cell: Any) -> Any:
    return cell.value if isinstance(cell, Near) else cell


def title(one: dict[str, Any]) -> str:
    if counts_events(one["function"], one.get("field_name")):
        return "count"
    return f"{one['function']}_{one['field_name']}"


# What is generated

TEXTS = st.sampled_from(
    [
        "",
        "a",
        "ab",
        "B",
        "é",
        "1",
        "true",
        "null",
        "😀",
        "\uffff",
        "x' OR 1=1 --",
        "%",
        "_",
        "\\",
        '"',
        "[1]",
        "a\nb",
        "a\0",
        "a\0b",
        "\0",
    ]
)
TAME = st.integers(-2, 3) | st.sampled_from([0.5, 1.0, -0.25, 2.5, 1e-3])
BEYOND = [
    2**63,
    2**63 + 1,
    2**64 + 2**12 - 1,
    -(2**63) - 1,
    -(2**63) - 1025,
    10**20,
    10**20 + 1,
    1e20,
    10**300,
    10**300 + 7,
]
WILD = TAME | st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 1e300, *BEYOND])
SCALARS = st.none() | st.booleans() | TEXTS
ARRAYS = st.lists(TEXTS, max_size=3) | st.lists(TAME, max_size=3) | st.lists(st.booleans(), max_size=2)

STEPS = [
    "a",
    "é",
    "a.b",
    'q"',
    "b\\",
    "$",
    "[0]",
    "0",
    "'); DROP TABLE events; --",
    "%s",
    ":p",
    "x y",
    "*",
    "_country",
    "a\0",
]
WILD_PATHS: list[Path] = [(step,) for step in STEPS] + [("o", "a"), ("o", "é"), ("o", 'q"'), ("o", "a.b"), ("o.o", "a")]
TAME_PATHS: list[Path] = [("n",), ("m",), ("o", "n")]
PATHS = [("a",)] * 14 + [("n",)] * 4 + WILD_PATHS + TAME_PATHS  # a few names mostly, so that they meet
FREE = st.sampled_from([named(path) for path in PATHS])
TAME_NAMES = {named(path) for path in TAME_PATHS}
TEXT_NAMES = ["event_name", "customer_identifier", "metric_name", "unique_req_id"]

ZONE_NAMES = [
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana", "Pacific/Apia",
]  # fmt: skip
ZONES = st.sampled_from(ZONE_NAMES)
# The edges of days, months, changes of clocks (also those at midnight), and the first day that there is.
EDGES_MS = [
    0, DAY_MS, 1_709_164_800_000, 1_711_846_800_000, 1_730_005_200_000, 1_730_613_600_000, 1_712_415_600_000,
    1_710_046_800_000, 1_730_610_000_000, 1_735_689_600_000, 1_704_067_200_000, 1_325_239_200_000, NOW_MS,
]  # fmt: skip
MOMENTS = st.builds(
    lambda edge, off: max(0, edge + off),
    st.sampled_from(EDGES_MS),
    st.sampled_from([-DAY_MS, -HOUR_MS, -1, 0, 1, 1799_999, 1_800_000, HOUR_MS, 2 * HOUR_MS, DAY_MS]) | st.integers(-2 * DAY_MS, 2 * DAY_MS),
)  # fmt: skip


@st.composite
def fields(draw: Callable[..., Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for path in draw(st.lists(st.sampled_from(PATHS), max_size=6)):
        numbers = TAME if path in TAME_PATHS else WILD
        value = draw(SCALARS | numbers | numbers | ARRAYS)
        if len(path) == 1:
            made[path[0]] = value
        elif draw(st.integers(0, 9)):
            inner = made.get(path[0])
            made[path[0]] = {**(inner if isinstance(inner, dict) else {}), path[1]: value}
        else:
            made[path[0]] = draw(TEXTS)
    return made


@st.composite
def event_rows(draw: Callable[..., Any]) -> list[Row]:
    count = draw(st.integers(0, 14))
    return [
        {
            "project_id": draw(st.sampled_from(["p", "p", "p", "q"])),
            "event_id": f"{number * 7 % 17:02d}",
            "time_ms": draw(MOMENTS),
            "recorded_ms": draw(MOMENTS),
            "event_name": draw(st.sampled_from(["a", "B", "buy", "metric"])),
            "customer_identifier": draw(st.sampled_from([None, "ann", "Bob", "x' OR 1=1 --"])),
            "metric_name": draw(st.sampled_from([None, "cpu"])),
            "fields": draw(fields()),
        }
        for number in range(count)
    ]


KEY_FILTERS = st.dictionaries(FREE | st.sampled_from(TEXT_NAMES), TEXTS, max_size=2) | st.dictionaries(
    FREE, st.booleans() | TAME, max_size=1
)
MISFITS = st.sampled_from([{"a": {}}, {"a": [1]}, {"a": None}])


@st.composite
def keys(draw: Callable[..., Any]) -> Key:
    return Key(
        id="k",
        kind="query",
        account_id="a",
        project_id=draw(st.sampled_from(["p"] * 8 + ["q", "other"])),
        customer=draw(st.sampled_from([None] * 7 + ["ann", "x' OR 1=1 --", "nobody"])),
        key_filter=draw(st.just({}) | st.just({}) | st.just({}) | st.just({}) | KEY_FILTERS | MISFITS),
    )


NUMBERS = WILD | st.sampled_from([0.5, 2**53 + 2])
ORDERED = ["greater_than", "greater_than_or_equals", "less_than", "less_than_or_equals"]
SEARCHED = ["contains", "not_contains", "starts_with", "ends_with"]
UNARY = ["exists", "not_exists", "is_null", "is_not_null"]


@st.composite
def filters(draw: Callable[..., Any]) -> dict[str, Any]:
    name = draw(FREE | FREE | st.sampled_from([*TEXT_NAMES, *TIMES]))
    made = {"field_name": name}
    if name in TIMES:
        values: Any = MOMENTS | MOMENTS.map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC).isoformat())
        ops = ["equals", "not_equals", "in", "not_in", *ORDERED, *UNARY]
    elif name in TEXT_NAMES:
        values = TEXTS | st.sampled_from(["ann", "Bob", "buy", "cpu"])
        ops = ["equals", "not_equals", "in", "not_in", *ORDERED, *SEARCHED, *UNARY]
    else:
        values = TEXTS | st.booleans() | NUMBERS
        ops = ["equals", "equals", "not_equals", "in", "not_in", *ORDERED, *SEARCHED, *UNARY]
    op = draw(st.sampled_from(ops))
    if op in UNARY:
        return made | {"op": op}
    if op in {"in", "not_in"}:
        return made | {"op": op, "value": draw(st.lists(values, min_size=1, max_size=3))}
    if op in ORDERED and name not in TIMES:
        values = TEXTS if name in TEXT_NAMES else TEXTS | NUMBERS
    if op in SEARCHED:
        values = TEXTS.filter(bool)
    return made | {"op": op, "value": draw(values)}


@st.composite
def computations(draw: Callable[..., Any]) -> dict[str, Any]:
    function = draw(
        st.sampled_from(
            ["count", "sum", "avg", "min", "max", "count_distinct", "median", "percentile_0", "percentile_90", "percentile_99.5", "percentile_100"]
        )
    )  # fmt: skip
    if function == "count" and draw(st.booleans()):
        return {"function": "count", **draw(st.sampled_from([{}, {"field_name": "*"}]))}
    names = FREE | st.sampled_from(sorted(TAME_NAMES))
    if function in {"count", "count_distinct"}:
        names = names | st.sampled_from([*TEXT_NAMES, *TIMES])
    elif function in {"min", "max"}:
        names = names | st.sampled_from(sorted(TIMES))
    return {"function": function, "field_name": draw(names)}


@st.composite
def queries(draw: Callable[..., Any]) -> dict[str, Any]:
    some = st.tuples(MOMENTS, MOMENTS).map(sorted)
    begin, end = draw(st.just((0, 2 * NOW_MS)) | st.just((0, 2 * NOW_MS)) | some)
    made: dict[str, Any] = {"time_period": {"from": begin, "to": end + 1}, "time_zone": draw(ZONES)}
    made["filters"] = draw(st.lists(filters(), max_size=2))
    if draw(st.integers(0, 4)) == 0:
        names = st.lists(FREE | st.sampled_from([*TEXT_NAMES, *TIMES]), max_size=3, unique=True)
        made["order_by"] = draw(orders(names))
        return {**made, **draw(st.sampled_from([{}, {"limit": 1}, {"limit": 3}]))}
    if draw(st.booleans()):
        made["interval"] = draw(st.sampled_from(["minute", "hour", "day", "week", "month"]))
    made["group_by"] = draw(st.lists(FREE | st.sampled_from(TEXT_NAMES), max_size=2, unique=True))
    made["computations"] = draw(st.lists(computations(), min_size=1, max_size=4, unique_by=title).filter(
        lambda found: not {title(one) for one in found} & {*made["group_by"], "timestamp"}
    ))  # fmt: skip
    sure = [title(one) for one in made["computations"] if is_sure(one)]
    titles = [*(["timestamp"] if "interval" in made else []), *made["group_by"], *sure]
    if titles:
        made["order_by"] = draw(orders(st.lists(st.sampled_from(titles), max_size=3, unique=True)))
    if has_sure_order(made):
        made |= draw(st.sampled_from([{}, {}, {"limit": 1}, {"limit": 3}]))
    return made


def is_sure(one: dict[str, Any]) -> bool:
    """Whether rounding cannot change what it is compared with."""
    return one["function"] in {"count", "min", "max", "count_distinct"}


def has_sure_order(query: dict[str, Any]) -> bool:
    if query.get("order_by") or not query.get("group_by") or "interval" in query:
        return True
    return is_sure(query["computations"][0])


@st.composite
def orders(draw: Callable[..., Any], names: st.SearchStrategy[list[str]]) -> list[dict[str, str]]:
    directions = st.sampled_from([{}, {"direction": "asc"}, {"direction": "desc"}])
    return [{"field_name": name, **draw(directions)} for name in draw(names)]
