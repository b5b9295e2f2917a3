"""Records of tracked events, and the events that are made of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.event import Event, Page, Record
from eventmw.jsontext import encode
from eventmw.protocols.eventbunker import Context, Reader
from eventmw.protocols.eventbunker.events import body_of, event_id, taken_apart
from eventmw.protocols.eventbunker.generated import GENERATED, MAX_VALUE, generated
from tests import strategies as own
from tests.test_eventbunker_accept import GOOD

CONTEXTS = st.builds(
    Context,
    st.none() | own.TEXTS,
    st.none() | own.ADDRESSES,
    st.none() | own.TEXTS | st.just("curl/8.5.0"),
    st.none() | own.TEXTS | own.URLS,
    st.dictionaries(st.sampled_from(["country", "city"]), own.TEXTS),
)


def record(context: Context, *events: Any, indexes: tuple[int, ...] | None = None) -> Record:
    body = body_of(context, [json.dumps(event).encode() for event in events])
    return Record("ab" * 16, 5, "eventbunker", "p1/k1", None, indexes, body)


def made(context: Context, event: Any) -> Event:
    (found,) = Reader().events(record(context, event))
    assert isinstance(found, Event)
    return found


@given(CONTEXTS, st.lists(GOOD, min_size=1, max_size=4))
def test_a_record_comes_apart_as_it_was_put_together(context: Context, events: list[Any]) -> None:
    found, raws = taken_apart(record(context, *events).body)
    assert found == context
    assert [json.loads(bytes(raw)) for raw in raws] == events


@given(CONTEXTS, st.lists(GOOD, min_size=1, max_size=4), st.integers(0, 3))
def test_one_event_of_a_record_stays_what_it_was(context: Context, events: list[Any], gap: int) -> None:
    """What is parked and buried holds one event, and has to give the same."""
    whole = record(context, *events, indexes=tuple(range(gap, gap + len(events))))
    alone = [next(iter(Reader().events(Reader().single(whole, ordinal)))) for ordinal in range(len(events))]
    assert alone == list(Reader().events(whole))


@given(st.text("0123456789abcdef", min_size=32, max_size=32), st.integers(1, 1000))
def test_ids_are_32_digits_and_differ(ident: str, index: int) -> None:
    others = [event_id(ident, other) for other in (0, index, index + 1)]
    assert others[0] == ident
    assert len(set(others)) == 3
    assert all(len(other) == 32 and set(other) <= set("0123456789abcdef") for other in others)


@given(CONTEXTS, GOOD)
def test_whose_it_is(context: Context, event: dict[str, Any]) -> None:
    """As it says, else as the key says; null and "" say nothing, a number is its text."""
    said = event.get("customer_identifier")
    text = said if isinstance(said, str | None) else encode(said).decode()
    assert made(context, event).user_id == (text or context.customer)


@given(CONTEXTS, GOOD)
def test_generated_fields_never_touch_those_of_the_sender(context: Context, event: dict[str, Any]) -> None:
    """PROTOCOLS.md 3.1: the sender cannot overwrite them, nor they the sender's."""
    found = made(context, event)
    assert {name: found.client[name] for name in event} == event
    added = {name for name in found.client if name not in event}
    assert added == {name for name in found.properties if name not in event}
    assert added <= GENERATED
    assert all(isinstance(found.client[name], str) for name in added)


def test_tools_find_the_page_and_the_device_where_those_of_other_events_are() -> None:
    context = Context(None, "192.0.2.7", "curl/8.5.0", "https://shop.example/a")
    found = made(context, {"event_name": "x", "metric_name": "m", "referrer": "https://search.example/q"})
    assert (found.device.ip, found.device.user_agent) == ("192.0.2.7", "curl/8.5.0")
    assert (found.page.url, found.page.referrer) == ("https://shop.example/a", "https://search.example/q")
    assert made(context, {"event_name": "x", "url": "https://shop.example/b"}).page.url == "https://shop.example/b"
    assert made(Context(), {"event_name": "x", "url": 5, "referrer": {}}).page == Page()
    assert found.system == {
        "cookies": {},
        "device": {"ip": "192.0.2.7", "user-agent": "curl/8.5.0"},
        "page": {"url": "https://shop.example/a", "referrer": "https://search.example/q"},
    }
    assert found.properties["metric_name"] == "m"


def added(fields: dict[str, Any], referer: str | None = None) -> dict[str, str]:
    return generated(fields, None, referer, None, {})


@pytest.mark.parametrize(
    ("fields", "referer", "expected"),
    [
        ({"url": "https://a.example/?utm_source=news&utm_medium=mail&x=1"}, None, {"_utm_source": "news", "_utm_medium": "mail"}),
        ({"page_url": "https://a.example/?gclid=G1&fbclid=F%20b"}, None, {"_gclid": "G1", "_fbclid": "F b"}),
        ({"url": "https://a.example/#utm_source=x"}, None, {}),
        ({"url": "https://a.example/?utm_source=x#utm_term=y"}, None, {"_utm_source": "x"}),
        ({"url": "/path?UTM_Source=x"}, None, {"_utm_source": "x"}),
        ({"url": "https://a.example/?utm_source=first&utm_source=second"}, None, {"_utm_source": "first"}),
        ({"url": "https://a.example/?utm_source=&utm_evil=x&password=y"}, None, {}),
        ({"url": "https://a.example/"}, "https://b.example/?utm_source=x", {"_referrer_host": "b.example"}),
        ({}, "https://B.example:8443/?utm_source=x", {"_utm_source": "x", "_referrer_host": "b.example"}),
        ({"referrer": "https://search.example/"}, "https://b.example/", {"_referrer_host": "search.example"}),
        ({"referrer": "", "url": 5}, None, {}),
        ({"referrer": "https://[", "url": "https://[?utm_source=x"}, "nowhere", {"_utm_source": "x"}),
    ],
)  # fmt: skip
def test_what_a_pages_address_tells(fields: dict[str, Any], referer: str | None, expected: dict[str, str]) -> None:
    assert added(fields, referer) == expected


@given(
    own.VALUES | own.TEXTS.map("https://x/?utm_source={}".format),
    own.VALUES | own.TEXTS.map("http://{}".format),
    st.none() | own.TEXTS,
)
def test_no_address_costs_an_event(url: Any, referrer: Any, referer: str | None) -> None:
    assert all(isinstance(value, str) for value in added({"url": url, "referrer": referrer}, referer).values())


def test_tags_are_cut_and_their_number_is_bounded() -> None:
    assert added({"url": "https://x/?gclid=" + "g" * 5000}) == {"_gclid": "g" * MAX_VALUE}
    assert added({"url": "https://x/?" + "a=1&" * 5000 + "gclid=x"}) == {}


def test_the_address_and_its_place() -> None:
    assert generated({}, None, None, "192.0.2.7", {"country": "DE", "city": "Berlin"}) == {
        "_ip": "192.0.2.7",
        "_country": "DE",
        "_city": "Berlin",
    }
