"""Hypothesis strategies for our own tests: those that come with the package, and what senders get wrong or barely right."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from eventmw.testing.strategies import (
    ADDRESSES,
    NAMES,
    PROPERTIES,
    SCALARS,
    SIZES,
    SYSTEMS,
    TEXTS,
    URLS,
    VALUES,
    objects,
    zaraz_events,
)
from eventmw.testing.strategies import enveloped as payloads

__all__ = [
    "ADDRESSES",
    "BAD_EVENTS",
    "BATCHES",
    "EVENTS",
    "GOOD_BATCHES",
    "GOOD_EVENTS",
    "NAMES",
    "ODD_VALUES",
    "PROPERTIES",
    "SCALARS",
    "SIZES",
    "SURPRISES",
    "SYSTEMS",
    "TEXTS",
    "URLS",
    "VALUES",
    "as_bytes",
    "nearly",
    "payloads",
]

IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=128) | st.integers(-(10**30), 10**30) | st.none()
TIMES = st.integers(946_684_800_000, 1_700_000_000_000) | st.sampled_from(
    [
        "2021-06-28T20:07:54.832Z",
        "2021-06-28",
        "2021-06-28T22:07:54+02:00",
        "2021-06-28 20:07:54.8 +0000 UTC",
        "",
        None,
    ],
)


CLIENTS = st.builds(
    lambda properties, reserved: properties | reserved,
    PROPERTIES,
    objects(__zarazTrack=NAMES, __zarazEcommerce=st.sampled_from([True, False, None, ""])),
)
OWNS = objects(id=IDS, timestamp=TIMES)

GOOD_EVENTS = zaraz_events() | st.fixed_dictionaries({"client": CLIENTS}, optional={"system": SYSTEMS, "eventmw": OWNS})

# What PHP, hurried people and other systems send in place of the right thing, and values on both sides of every bound.
ODD_VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 1.0, 1.5, 1e300, 10**25, "", " ", "x", [], {}, [1], [[]], {"a": 1},
    "x" * 127, "x" * 128, "x" * 129, "𝄞" * 128, "𝄞" * 129,
    "1x1", "1x1\n", "100000x1", "1 x 1", "１x１", "1x1x1",
    "127.0.0.1", "::1", "fe80::1%eth0", "1.2.3", "300.1.1.1", "01.2.3.4", "::ffff:1.2.3.4",
    "https://", "https:///x", "https://A", "https://z", "https://{x}", "https://é", "https:// x", "HTTPS://x", "//x", "x:y",
    253402300799999, 253402300800000, -1, 1624910874832.0, 1624910874832.5,
    "9999-12-31T23:59:59.999Z", "10000-01-01", "1969-12-31T23:59:59Z", "2021-02-30", "2021-W01-1", "20210628", "noon",
]  # fmt: skip
SURPRISES = st.sampled_from(ODD_VALUES)
NEAR_MISSES = [
    "userAgent", "user_agent", "UA", "User-Agent", "referer", "referrer", "IP", "ip_address", "lang", "href", "client_hints",
    "Device", "cookie", "user-agent\n", "useragents",
]  # fmt: skip


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    match value:
        case dict():
            inner = [place for key in value for place in _places(value[key], (*at, key))]
        case list():
            inner = [place for index, item in enumerate(value) for place in _places(item, (*at, index))]
        case _:
            inner = []
    return [at, *inner]


@st.composite
def nearly(draw: Callable[..., Any], events: st.SearchStrategy[Any] = GOOD_EVENTS) -> Any:
    """A good Event Object with one place changed: another value there, nothing there, or a key too many."""
    event = copy.deepcopy(draw(events))
    place = draw(st.sampled_from(_places(event)))
    if not place:
        return draw(SURPRISES | VALUES)
    parent = event
    for key in place[:-1]:
        parent = parent[key]
    match draw(st.sampled_from(["replace", "remove", "add"])):
        case "remove":
            del parent[place[-1]]
        case "add" if isinstance(parent, dict):
            parent[
                draw(
                    TEXTS
                    | st.sampled_from(["client", "system", "eventmw", "id", "timestamp", "ip", "device", *NEAR_MISSES])
                )
            ] = draw(SURPRISES | VALUES)
        case _:
            parent[place[-1]] = draw(SURPRISES | VALUES)
    return event


BAD_EVENTS: st.SearchStrategy[Any] = st.sampled_from(
    [{}, None, 1, "x", [], [{}], {"client": 1}, {"client": [1]}, {"client": None}, {"client": {"__zarazTrack": 1}},
     {"client": {}, "eventmw": 1}, {"client": {}, "eventmw": [1]}, {"client": {}, "eventmw": {"id": {}}},
     {"client": {}, "eventmw": {"timestamp": "noon"}}, {"client": {}, "eventmw": {"timestamp": -1}},
     {"client": {}, "eventmw": {"timestamp": True}}],
)  # fmt: skip
EVENTS = GOOD_EVENTS | nearly() | BAD_EVENTS | VALUES
BATCHES = st.lists(EVENTS, min_size=1, max_size=6)
GOOD_BATCHES = st.lists(GOOD_EVENTS, min_size=1, max_size=6)


@st.composite
def as_bytes(draw: Callable[..., Any], document: Any) -> bytes:
    """JSON text of a document as one sender or another writes it."""
    text = json.dumps(
        document,
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, None, 1])),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": ")])),
    )
    mark: bytes = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"]))
    return mark + text.encode()
