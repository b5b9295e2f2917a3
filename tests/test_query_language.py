"""The query language: what it takes, and how it says what is wrong where."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from eventmw.errors import Refused
from eventmw.query.language import SCHEMA, filters_of, parse, parse_text
from eventmw.query.periods import Period
from eventmw.query.question import Computation, Field, Filter, Order, Query, field_of, name_of
from eventmw.schema import published
from tests import query_model as model
from tests import strategies as own

NOW_MS = model.NOW_MS


def faults(document: object) -> list[tuple[str, str]]:
    with pytest.raises(Refused) as caught:
        parse(document, NOW_MS)
    assert caught.value.code == "invalid_query"
    assert caught.value.status == 400
    return [(fault.path, fault.message) for fault in caught.value.faults]


def test_the_published_schema_is_one_of_its_draft() -> None:
    Draft202012Validator.check_schema(published(SCHEMA))


def test_a_whole_query() -> None:
    query = parse(
        {
            "time_period": {"from": "2024-03-31", "to": 1_712_000_000_000},
            "time_zone": "Europe/Berlin",
            "interval": "day",
            "group_by": ["plan", "cart.total"],
            "computations": [{"field_name": "price", "function": "sum"}, {"function": "percentile_99.5", "field_name": "ms", "as": "slow"}],
            "filters": [{"field_name": "event_name", "op": "not_in", "value": ["a", "b"]}],
            "order_by": [{"field_name": "price", "direction": "desc"}, {"field_name": "timestamp"}],
            "limit": 5,
        },
        NOW_MS,
    )  # fmt: skip
    assert query == Query(
        period=Period(1_711_839_600_000, 1_712_000_000_000),
        time_zone="Europe/Berlin",
        interval="day",
        groups=(Field("plan", ("plan",)), Field("cart.total", ("cart", "total"))),
        computations=(
            Computation("sum", Field("price", ("price",)), "sum_price"),
            Computation("percentile", Field("ms", ("ms",)), "slow", 0.995),
        ),
        filters=(Filter(Field("event_name", ("event_name",)), "in", ("a", "b"), negated=True),),
        order=(Order(3, descending=True), Order(0)),
        limit=5,
    )


def test_a_limit_may_be_written_with_a_point() -> None:
    """To JSON Schema 5.0 is an integer; what is asked with it is a whole number all the same."""
    limit = parse({"limit": 5.0}, NOW_MS).limit
    assert (limit, type(limit)) == (5, int)


def test_nothing_asked_lists_the_newest_events() -> None:
    query = parse({}, NOW_MS)
    assert query.lists
    assert query.limit == 100
    assert query.order == (Order(Field("timestamp", ("timestamp",)), descending=True),)
    assert query.period == Period(NOW_MS - 30 * model.DAY_MS, NOW_MS + 1)


def test_groups_and_intervals_count_when_nothing_else_is_computed() -> None:
    count = (Computation("count", None, "count"),)
    assert parse({"group_by": ["a"]}, NOW_MS).computations == count
    assert parse({"interval": "hour"}, NOW_MS).computations == count
    assert parse({"group_by": ["a"]}, NOW_MS).order == (Order(1, descending=True),), "the largest first"
    assert parse({"interval": "hour", "group_by": ["a"]}, NOW_MS).order == (Order(0),), "along time"


@pytest.mark.parametrize(
    ("document", "path", "message"),
    [
        (3, "", "expected a query object, got a number"),
        ({"x": 1}, "/x", "expected one of the keys time_period, time_zone, interval, group_by, computations, filters, order_by, limit, got another key"),
        ({"time_period": "soon"}, "/time_period", "expected a period such as minus_5_minutes, today or last_month, or an object with from and to, got other text"),
        ({"time_period": {}}, "/time_period", "expected the key from, which is missing"),
        ({"time_period": {"from": "noon"}}, "/time_period/from", "expected an ISO 8601 time or whole milliseconds since 1970, got other text"),
        ({"time_period": {"from": 5, "to": 5}}, "/time_period/to", "expected a time after the one at from, got one that is not"),
        ({"time_period": {"from": "2999-01-01"}}, "/time_period/from", "expected a time before now, got one that is not"),
        ({"time_period": "minus_999999_weeks"}, "/time_period", "expected a period that begins after 1970 and before now"),
        ({"time_period": "minus_0_days"}, "/time_period", "expected a period that begins after 1970 and before now"),
        ({"time_zone": "Mars/Base"}, "/time_zone", "expected the IANA name of a time zone, got other text"),
        ({"time_zone": "../../etc/passwd"}, "/time_zone", "expected the IANA name of a time zone, got other text"),
        ({"interval": "fortnight"}, "/interval", "expected minute, hour, day, week or month, got text"),
        ({"group_by": "a"}, "/group_by", "expected an array of at most 8 fields' names, got text"),
        ({"group_by": ["timestamp"]}, "/group_by/0", "expected no time here, got one: set interval instead"),
        ({"group_by": ["a", "a"]}, "/group_by/1", "expected each field once, got one again"),
        ({"group_by": ["a.b.c"]}, "/group_by/0", "expected a name, or two with a dot between (a dot inside of a name: backslash, dot), got other text"),
        ({"computations": [{"function": "mode", "field_name": "a"}]}, "/computations/0/function", "expected count, sum, avg, min, max, count_distinct, median, or percentile_0 to percentile_100, got other text"),
        ({"computations": [{"function": "sum"}]}, "/computations/0", "expected the key field_name, which only count can do without"),
        ({"computations": [{"function": "sum", "field_name": "event_name"}]}, "/computations/0/field_name", "expected a field that can hold numbers, got one of texts"),
        ({"computations": [{"function": "avg", "field_name": "timestamp"}]}, "/computations/0/field_name", "expected a field that can hold numbers, got one of times"),
        ({"computations": [{"function": "count"}, {"function": "count"}]}, "/computations/1", "expected a column's name that no other column has, got one again: set as"),
        ({"filters": [{"field_name": "a", "op": "equals"}]}, "/filters/0", "expected the key value, which is missing"),
        ({"filters": [{"field_name": "a", "op": "equals", "value": None}]}, "/filters/0/value", "expected text, a number, true or false (for null there is is_null), got null"),
        ({"filters": [{"field_name": "a", "op": "exists", "value": 1}]}, "/filters/0/value", "expected no value, since this op compares with nothing"),
        ({"filters": [{"field_name": "a", "op": "greater_than", "value": True}]}, "/filters/0/value", "expected text or a number, got a boolean"),
        ({"filters": [{"field_name": "a", "op": "contains", "value": ""}]}, "/filters/0/value", "expected text of 1 to 500 characters without lone surrogates, got other text"),
        ({"filters": [{"field_name": "a", "op": "not_contains", "value": "x" * 501}]}, "/filters/0/value", "expected text of 1 to 500 characters without lone surrogates, got other text"),
        ({"filters": [{"field_name": "a", "op": "equals", "value": "\ud800"}]}, "/filters/0/value", "expected text of 0 to 10,000 characters without lone surrogates, got other text"),
        ({"filters": [{"field_name": "a", "op": "in", "value": []}]}, "/filters/0/value", "expected an array of 1 to 1,000 values, got an array of 0"),
        ({"filters": [{"field_name": "a", "op": "in", "value": [1, []]}]}, "/filters/0/value/1", "expected text, a number, true or false (for null there is is_null), got an array"),
        ({"filters": [{"field_name": "event_name", "op": "equals", "value": 1}]}, "/filters/0/value", "expected text, got a number"),
        ({"filters": [{"field_name": "timestamp", "op": "contains", "value": "2"}]}, "/filters/0/op", "expected an op that compares times, got one for text"),
        ({"filters": [{"field_name": "timestamp", "op": "equals", "value": True}]}, "/filters/0/value", "expected an ISO 8601 time or whole milliseconds since 1970, before the year 9999, got a boolean"),
        ({"group_by": ["a"], "order_by": [{"field_name": "b"}]}, "/order_by/0/field_name", "expected the name of one of the answer's columns, got other text"),
        ({"limit": 10_001}, "/limit", "expected a whole number from 1 to 10,000, got a number"),
    ],
)  # fmt: skip
def test_words(document: Any, path: str, message: str) -> None:
    assert faults(document) == [(path, message)]


def test_all_faults_are_told_at_once() -> None:
    found = faults({"time_zone": "x", "group_by": ["a", "", "timestamp"], "y": 1})
    assert [path for path, _ in found] == ["/group_by/1", "/y"], "shapes first"
    found = faults(
        {
            "time_zone": "x",
            "group_by": ["a.", "timestamp"],
            "filters": [{"field_name": "a", "op": "equals", "value": []}],
        }
    )
    assert [path for path, _ in found] == ["/time_zone", "/group_by/0", "/group_by/1", "/filters/0/value"]


def test_no_value_of_the_sender_is_in_a_message() -> None:
    secret = "s3cr3t-value"
    document = {
        "time_zone": secret,
        "group_by": [secret + ".a.b"],
        "filters": [{"field_name": "event_name", "op": "contains", "value": {"a": secret}}],
        "order_by": [{"field_name": secret}],
    }
    assert not any(secret in message for _, message in faults(document))


def test_numbers_are_integers_where_they_are_whole() -> None:
    values = [1, 1.0, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 0.5, 10**400]
    read = [
        parse({"filters": [{"field_name": "a", "op": "equals", "value": value}]}, NOW_MS).filters[0].values[0]
        for value in values[:-1]
    ]
    assert read == [1, 1, 2**53 + 1, 2**63 - 1, 2.0**63, -(2.0**63), 0.5]
    assert [type(value) for value in read] == [int, int, int, int, float, float, float]
    assert faults({"filters": [{"field_name": "a", "op": "equals", "value": values[-1]}]})


@pytest.mark.parametrize(
    ("name", "path"),
    [("a", ("a",)), ("a.b", ("a", "b")), (r"a\.b", ("a.b",)), (r"a\\.b", ("a\\", "b")), (r"\a", ("a",)), ("$", ("$",))],
)
def test_a_backslash_takes_the_next_character_as_it_is(name: str, path: tuple[str, ...]) -> None:
    assert field_of(name).path == path


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a.b.c", "a\\", "\ud800"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        field_of(name)


@given(st.lists(own.TEXTS.filter(lambda text: text and "\x00" not in text), min_size=1, max_size=2))
def test_any_path_has_a_name(path: list[str]) -> None:
    assert field_of(name_of(*path)).path == tuple(path)


@given(
    own.VALUES
    | st.dictionaries(st.sampled_from(["time_period", "group_by", "computations", "filters", "limit"]), own.VALUES)
)
def test_anything_is_a_query_or_refused(document: object) -> None:
    refused = None
    try:
        parse(document, NOW_MS)
    except Refused as error:
        refused = error
    assert refused is None or refused.code == "query_too_large" or (refused.code == "invalid_query" and refused.faults)


@given(model.queries())
def test_what_the_answers_are_tested_with_are_queries(document: dict[str, Any]) -> None:
    parse(document, NOW_MS)


def test_text_that_is_no_json_is_told_as_such() -> None:
    with pytest.raises(Refused, match="line 1, column 2") as caught:
        parse_text(b"{", NOW_MS)
    assert caught.value.code == "invalid_json"


def test_a_keys_filter_that_cannot_be_understood_is_refused() -> None:
    assert [one.values for one in filters_of({"a": 1, "b": "x", "c": True})] == [(1,), ("x",), (True,)]
    misfits: list[dict[str, Any]] = [{"a": {}}, {"a": [1]}, {"a": None}, {"a.b.c": 1}, {"event_name": 3}]
    for wanted in misfits:
        with pytest.raises(Refused):
            filters_of(wanted)


def test_nul_is_asked_for_by_what_is_kept_of_it() -> None:
    asked = parse({"filters": [{"field_name": "o\0.a", "op": "equals", "value": "x\0"}]}, NOW_MS).filters[0]
    assert (asked.field.path, asked.values) == (("o\u2400", "a"), ("x\u2400",))


MANY: list[Any] = [
    {"filters": [{}] * 340},
    {"filters": [{"a": number} for number in range(80)]},
    {"computations": [{}] * 340},
    {"group_by": [1] * 340},
    {"order_by": [{"direction": 1}] * 340},
]


@pytest.mark.parametrize("document", MANY)
def test_what_is_in_an_array_that_is_too_long_is_not_looked_at(document: dict[str, list[Any]]) -> None:
    """So the faults of what it holds are never worked out: of a megabyte they cost 16 seconds."""
    (name,) = document
    inside = [path for path, _ in faults(document) if path.count("/") > 1]
    assert f"/{name}" in [path for path, _ in faults(document)]
    assert all(int(path.split("/")[2]) < 50 for path in inside)
    assert len(inside) <= 100


def test_faults_end_with_one_more_than_is_shown() -> None:
    with pytest.raises(Refused) as caught:
        parse({f"key {number}": 1 for number in range(5_000)}, NOW_MS)
    assert (len(caught.value.faults), caught.value.omitted) == (100, 1)


def test_the_values_of_all_filters_together() -> None:
    def asked(*counts: int) -> dict[str, Any]:
        return {"filters": [{"field_name": "a", "op": "in", "value": list(range(count))} for count in counts]}

    assert len(parse(asked(500, 500), NOW_MS).filters) == 2
    with pytest.raises(Refused, match="at most 1,000 values in all filters together") as caught:
        parse(asked(500, 501), NOW_MS)
    assert (caught.value.code, caught.value.status) == ("query_too_large", 400)
    assert [path for path, _ in faults(asked(1001))] == ["/filters/0/value"]
