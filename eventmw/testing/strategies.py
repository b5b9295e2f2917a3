"""Hypothesis strategies for payloads of both APIs: valid ones, and broken ones with what is wrong.

::

    from hypothesis import given
    from eventmw.testing import captured
    from eventmw.testing.strategies import zaraz_events

    @given(zaraz_events())
    def test_my_tool_takes_every_event(event): ...

Valid means accepted without a warning, with every setting. Needs the package hypothesis, which nothing else of eventmw does.

Layer: people. Source: PROTOCOLS.md 2.1 and 3.1.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st

Strategy = st.SearchStrategy[Any]


class Broken(NamedTuple):
    """A payload that is refused.

    Attributes:
        payload: the JSON value.
        path: the JSON Pointer (RFC 6901) of the wrong place.
        why: what is wrong with it, in words.
    """

    payload: Any
    path: str
    why: str


# Surrogates cannot be written as UTF-8, and so never come as a decoded value.
TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS: Final = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS: Final = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
"""Any JSON value."""

NAMES: Final = st.sampled_from(["transaction successful", "Pageview", "purchase", "é", "x" * 300]) | TEXTS.filter(bool)
SIZES: Final = st.builds("{}x{}".format, st.integers(0, 99999), st.integers(0, 99999))
ADDRESSES: Final = st.ip_addresses().map(str)
URLS: Final = st.sampled_from(
    ["https://example.com", "https://example.com/a?b=c#d", "http://x.example", "app://screen"]
)
PROPERTIES: Final = st.dictionaries(TEXTS.filter(lambda key: not key.startswith("__zaraz")), VALUES, max_size=4)

_NOTHING: Final[dict[str, Any]] = {}
_PAST_MS: Final = st.integers(946_684_800_000, 1_700_000_000_000)
_TIMES: Final = _PAST_MS | st.sampled_from(["2021-06-28T20:07:54.832Z", "2021-06-28", "2021-06-28T22:07:54+02:00"])
_IDS: Final = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)


def objects(**parts: Strategy) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects with any of these keys; two underscores in the middle of a name stand for a hyphen."""
    return st.fixed_dictionaries({}, optional={name.replace("__dash__", "-"): part for name, part in parts.items()})


SYSTEMS: Final = objects(
    cookies=st.dictionaries(TEXTS, TEXTS, max_size=3),
    device=objects(ip=ADDRESSES, resolution=SIZES, viewport=SIZES, language=TEXTS, user__dash__agent=TEXTS),
    page=objects(url=URLS, title=TEXTS, referrer=URLS, encoding=TEXTS),
)


def zaraz_events() -> st.SearchStrategy[dict[str, Any]]:
    """Return valid Event Objects of the HTTP Events API."""
    reserved = objects(__zarazTrack=NAMES, __zarazEcommerce=st.booleans())
    clients = st.builds(_merged, PROPERTIES, reserved)
    optional = {"system": SYSTEMS, "eventmw": objects(id=_IDS, timestamp=_TIMES)}
    return st.fixed_dictionaries({"client": clients}, optional=optional)


def zaraz_payloads(events: Strategy | None = None, *, max_events: int = 6) -> st.SearchStrategy[dict[str, Any]]:
    """Return valid bodies of the HTTP Events API.

    Args:
        events: the Event Objects in them; None: `zaraz_events`.
        max_events: how many at most.
    """
    return enveloped(st.lists(zaraz_events() if events is None else events, min_size=1, max_size=max_events))


def enveloped(batches: Strategy) -> st.SearchStrategy[dict[str, Any]]:
    """Return bodies around lists of Event Objects, some with keys of their own."""
    extra: Strategy = st.just(_NOTHING) | st.dictionaries(TEXTS, VALUES, max_size=2)
    return st.builds(_merged, extra, st.builds(_as_events, batches))


def _as_events(batch: list[Any]) -> dict[str, Any]:
    return {"events": batch}


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of both; those of the second win."""
    return {**one, **other}


_NO_OBJECT: Final = st.sampled_from([1, "x", True, [1]])
_NO_TEXT: Final = st.sampled_from([{}, {"a": 1}, [1], [True]])


@st.composite
def broken_zaraz_events(draw: st.DrawFn) -> Broken:
    """Return Event Objects that are refused by themselves."""
    event = draw(zaraz_events())
    own = dict(event.get("eventmw", {}))
    faults: Sequence[tuple[str, str, Strategy]] = (
        ("", "an event is an object", _NO_OBJECT),
        ("/client", "client is an object, and required", _NO_OBJECT | st.none()),
        ("/client/__zarazTrack", "a name is text", _NO_TEXT),
        ("/eventmw", "eventmw is an object", _NO_OBJECT),
        ("/eventmw/id", "an id is text of 1 to 128 characters", _NO_TEXT | st.just("x" * 129)),
        ("/eventmw/timestamp", "a timestamp is a time", st.sampled_from(["noon", True, {}, -1])),
    )
    path, why, values = draw(st.sampled_from(faults))
    wrong = draw(values)
    match path:
        case "":
            event = wrong
        case "/client/__zarazTrack":
            event["client"] = event["client"] | {"__zarazTrack": wrong}
        case "/client" | "/eventmw":
            event[path[1:]] = wrong
        case _:
            event["eventmw"] = own | {path.rpartition("/")[2]: wrong}
    return Broken(event, path, why)


@st.composite
def broken_zaraz_payloads(draw: st.DrawFn) -> Broken:
    """Return bodies of the HTTP Events API in which one event is broken, or which are no bodies at all."""
    whole: st.SearchStrategy[Broken] = st.sampled_from(
        [
            Broken({"events": []}, "/events", "there is at least one event"),
            Broken({"events": {}}, "/events", "events is an array"),
            Broken({}, "", "events is required"),
            Broken([], "", "a body is an object"),
            Broken(1, "", "a body is an object"),
        ]
    )
    if draw(st.booleans()):
        return draw(whole)
    payload = draw(zaraz_payloads(max_events=3))
    index = draw(st.integers(0, len(payload["events"])))
    broken = draw(broken_zaraz_events())
    payload["events"].insert(index, broken.payload)
    return Broken(payload, f"/events/{index}{broken.path}", broken.why)


TRACK_NAMES: Final = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=12)
_ARRAYS: Final = (
    st.lists(TEXTS, max_size=3)
    | st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=3)
    | st.lists(st.booleans(), max_size=3)
)
_RESERVED: Final = frozenset(
    {"event_name", "timestamp", "customer_identifier", "metric_name", "unique_req_id", "time_recorded", "project_id"}
)
_FREE_NAMES: Final = TEXTS.filter(lambda name: not name.startswith("_") and name not in _RESERVED)
FREE_VALUES: Final = SCALARS | _ARRAYS | st.dictionaries(TEXTS, SCALARS | _ARRAYS, max_size=3)
"""What a free field may hold."""

_TRACK_TIMES: Final = st.sampled_from(
    ["2021-06-26T14:48:00.000", "2021-06-26T14:48:00+09:00", "Sat, 26 Jun 2021 14:48:00 GMT", "2021"]
)


def tracks() -> st.SearchStrategy[dict[str, Any]]:
    """Return valid events of the EventBunker API."""
    person = TEXTS.filter(bool)
    known = st.fixed_dictionaries(
        {"event_name": TRACK_NAMES},
        optional={"timestamp": _TRACK_TIMES, "customer_identifier": person, "metric_name": person},
    )
    free = st.dictionaries(_FREE_NAMES, FREE_VALUES, max_size=4)
    return st.builds(_merged, free, known)


@st.composite
def broken_tracks(draw: st.DrawFn) -> Broken:
    """Return events of the EventBunker API that are refused."""
    event = draw(tracks())
    faults: Sequence[tuple[str, str, Strategy]] = (
        ("", "an event is an object", st.sampled_from([1, "x", True, None])),
        (
            "/event_name",
            "a name is 1 to 256 letters, digits, '.', '_' and '-'",
            st.sampled_from(["", "a b", "é", "x" * 257]),
        ),
        ("/event_name", "a name is text, and required", _NO_TEXT | st.none()),
        ("/timestamp", "a timestamp is a time", st.sampled_from(["noon", True, {"a": 1}])),
        ("/customer_identifier", "a customer's identifier is text", _NO_TEXT),
        ("/metric_name", "a metric's name is text", _NO_TEXT),
        ("/unique_req_id", "the server sets it", st.just("x")),
        ("/time_recorded", "the server sets it", st.just(1)),
        ("/project_id", "the server sets it", st.just("x")),
        ("/free", "an array holds one kind of value", st.sampled_from([["a", 1], [[1]], [{}], [None]])),
        ("/free", "no object is in another", st.sampled_from([{"a": {}}, {"a": {"b": 1}}])),
    )
    path, why, values = draw(st.sampled_from(faults))
    wrong = draw(values)
    return Broken({**event, path[1:]: wrong} if path else wrong, path, why)
