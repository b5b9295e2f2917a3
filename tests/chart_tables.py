"""Tables of every shape that a query can answer, for the tests of charts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

from eventmw.query.question import Computation, Field, Function
from eventmw.query.table import Cell, Column, Table

HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
T0: Final = 1_761_436_800_000  # 2025-10-26 00:00 UTC: the day on which Berlin repeats an hour

TIME: Final = Column("timestamp", "time", "bucket")
COUNT: Final = Column("count", "number", "value")
HOSTILE: Final = "</script><img src=x onerror=alert(1)>\u2028'\"`&amp;\x00"


def group(name: str) -> Column:
    return Column(name, "scalar", "group")


def number(name: str) -> Column:
    return Column(name, "number", "value")


def table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], **more: Any) -> Table:
    given: dict[str, Any] = {"truncated": False, "from_ms": T0, "to_ms": T0 + 7 * DAY, **more}
    return Table(columns=tuple(columns), rows=tuple(tuple(row) for row in rows), **given)


def computed(function: Function, field: str | None = None, name: str | None = None, share: float = 0.5) -> Column:
    """Return a column as the archive's answers have it; `name` is what the query named it with `as`."""
    where = None if field is None else Field(field, (field,))
    own = name or (function if field is None else f"{function}_{field}")
    return Column(own, "number", "value", Computation(function, where, own, share, is_named=name is not None))


def wave(at: int) -> int:
    return int(40 + 30 * math.sin(at / 24 * 2 * math.pi)) + at % 5


BROWSERS: Final = ("chrome", "firefox", "safari", "edge", "opera", "a rather long name that goes on and on and on", "כרום",
                   None, "ie")  # fmt: skip

TABLES: Final = {
    "hours": table([TIME, COUNT], ((T0 + at * HOUR, wave(at)) for at in range(5 * 24)), interval="hour", time_zone="Europe/Berlin"),
    "series": table(
        [TIME, group("_browser"), COUNT, number("avg_price")],
        ((T0 + at * DAY, name, wave(at * 3) * (9 - place), at / (place + 3)) for at in range(30) for place, name in enumerate(BROWSERS)),
        interval="day",
    ),
    "groups": table(
        [group("country"), number("sum_price")],
        [("Germany", 18233.5), ("France", 15002), ("United Kingdom of Great Britain and Northern Ireland", 9120.25),
         ("إسرائيل והמזרח", 4200), (HOSTILE, 3100), (None, 1200), ("Nothing", None), ("Refunds", -2400)],
    ),
    "many_groups": table([group("page"), COUNT], ((f"/shop/products/{at}", 9000 // (at + 1)) for at in range(160)), truncated=True),
    "two_groups": table([group("country"), group("kind"), COUNT], [("de", True, 3), ("fr", 1, 2), ("fr", "1", 5)]),
    "empty": table([TIME, COUNT], [], interval="hour"),
    "one_point": table([TIME, COUNT], [(T0, 17)], interval="hour"),
    "figures": table([COUNT, number("avg_price")], [(182340, 145 / 3)]),
    "thousands": table([TIME, COUNT], ((T0 + at * 60_000, 1_000_000 + wave(at) * 10_000) for at in range(3000)), interval="minute"),
    "columns": table(
        [TIME, number("p50"), number("p90"), number("p99")],
        ((T0 + at * HOUR, 50 + at % 7, 120 + at % 11, None if at in (7, 8, 20) else 400 + at) for at in range(36)),
        interval="hour", time_zone="America/New_York",
    ),
    "incomparable": table([TIME, COUNT, number("sum")], ((T0 + at * DAY, at + 1, at * 1e6) for at in range(9)), interval="day"),
    "negative": table([TIME, number("sum")], ((T0 + at * DAY, (-1) ** at * at * 100.5) for at in range(12)), interval="day"),
    "far_from_zero": table([TIME, number("avg")], ((T0 + at * DAY, 20 + at / 1000) for at in range(12)), interval="day"),
    "sparse": table([TIME, COUNT], ((T0 + at * HOUR, wave(at)) for at in (0, 3, 4, 20, 60)), interval="hour"),
    # Thirty days from 17:40 until now, as the archive answers: a row only where there are events.
    "days": table(
        [TIME, computed("count"), computed("avg", "price")],
        ((T0 + at * DAY, at % 7 + 1, at * 1.5) for at in range(31) if at not in (3, 9, 10, 11)),
        interval="day", from_ms=T0 + DAY * 2 // 3, to_ms=T0 + 30 * DAY + 9 * HOUR, asked_ms=T0 + 30 * DAY + 9 * HOUR - 1,
    ),
    "days_by_name": table(
        [TIME, group("event_name"), computed("count")],
        ((T0 + at * DAY, name, at % 5 + 1) for at in range(30) for place, name in enumerate(("page_view", "signup", "trial"))
         if at % (1, 4, 29)[place] == 0),
        interval="day", to_ms=T0 + 30 * DAY,
    ),
    "one_group": table([group("plan"), computed("count")], [("pro", 17)]),
    "four_figures": table(
        [computed("count"), computed("sum", "price"), computed("avg", "price"), computed("count_distinct", "customer_identifier")],
        [(487, 229028.5, 470.28439, 50)],
    ),
    "long_figure": table([computed("sum", "price")], [(2**70,)]),
    "free_fields": table(
        [Column("timestamp", "time", "listed"), Column("event_name", "text", "listed"), Column("metric_name", "text", "listed"),
         Column("fields", "object", "listed"), Column("unique_req_id", "text", "listed")],
        ((T0 + at * 997_123, "purchase", None,
          {"plan": "pro", "price": 12.5 + at, "note": HOSTILE, "cart": {"items": [1, 2], "total": 3.5}, f"rare_{at % 7}": at},
          f"0198c2b4-aaaa-7bbb-8ccc-{at:012}") for at in range(40)),
    ),
    "listed": table(
        [Column("timestamp", "time", "listed"), Column("event_name", "text", "listed"), Column("price", "scalar", "listed"),
         Column("fields", "object", "listed")],
        ((T0 + at * 997_123, "purchase", (12.5, None, True, "x")[at % 4], {"a": at, "list": [HOSTILE, 2]}) for at in range(40)),
    ),
    "huge": table([group("name"), number("sum")], [("a", 2**70), ("b", 1e300), ("c", 1e-9), ("d", 0), ("e", 10**400)]),
}  # fmt: skip
