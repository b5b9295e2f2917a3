"""GA4: what it would refuse is never sent, what it would lose is cut in a known way."""

from __future__ import annotations

import json
import unicodedata
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmw.contract import bind
from eventmw.effects import Drop, Effect, Packed, Send, SetCookie
from eventmw.errors import ConfigError
from eventmw.event import Device, Event, Page
from eventmw.http import HttpReply, HttpRequest
from eventmw.toolkit.ga4params import EVENT_NAMES, RESERVED_EVENTS, RESERVED_PREFIXES, cleaned
from eventmw.tools import GA4
from eventmw.tools.ga4 import MAX_BODY_BYTES

NOW_MS = 1_747_132_700_000
HOUR_MS = 3_600_000
TOOL = GA4("G-ABC123", api_secret="s3cret")


def is_name(name: str) -> bool:
    """A letter of any script, then letters and what stands on them, digits, underscores: 40 at most."""
    kinds = [unicodedata.category(char) for char in name]
    rest = all(kind[0] in "LM" or kind == "Nd" or char == "_" for kind, char in zip(kinds, name, strict=True))
    return 1 <= len(name) <= 40 and kinds[0][0] == "L" and rest and unicodedata.is_normalized("NFC", name)


def event(name: str = "sign up", **changes: Any) -> Event:
    standard: dict[str, Any] = {
        "id": "e1",
        "timestamp_ms": NOW_MS,
        "recorded_ms": NOW_MS,
        "cookies": {"_ga": "GA1.1.11.22"},
    }
    return Event(name=name, **(standard | changes))


def effects(one: Event, tool: GA4 = TOOL) -> list[Effect]:
    return list(bind(tool).handle(one))


def packs(events: list[Event], tool: GA4 = TOOL) -> list[Packed]:
    sends = [effect for one in events for effect in effects(one, tool) if isinstance(effect, Send)]
    return list(bind(tool).pack(sends))


def request(pack: Packed) -> HttpRequest:
    assert isinstance(pack.request, HttpRequest)
    return pack.request


def body(one: Event, tool: GA4 = TOOL) -> dict[str, Any]:
    (pack,) = packs([one], tool)
    decoded: dict[str, Any] = json.loads(request(pack).body)
    return decoded


def params(one: Event, tool: GA4 = TOOL) -> dict[str, Any]:
    found: dict[str, Any] = body(one, tool)["events"][0]["params"]
    return found


def dropped(one: Event) -> str:
    (effect,) = effects(one)
    assert isinstance(effect, Drop)
    return effect.reason


# The shape of a request


def test_the_request() -> None:
    (pack,) = packs([event(properties={"value": "200"})])
    parts = urlsplit(request(pack).url)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "www.google-analytics.com", "/mp/collect")
    assert parse_qs(parts.query) == {"measurement_id": ["G-ABC123"], "api_secret": ["s3cret"]}
    assert json.loads(request(pack).body) == {
        "client_id": "11.22",
        "events": [
            {
                "name": "sign_up",
                "timestamp_micros": NOW_MS * 1000,
                "params": {"session_id": "1747132200", "engagement_time_msec": 1, "value": 200},
            }
        ],
    }


def test_what_holds_for_the_whole_request() -> None:
    one = event(
        user_id="u1",
        device=Device(ip="203.0.113.7", user_agent="UA/1", language="en-US", resolution="800x600"),
        properties={"plan": "x" * 50, "google_consent_update": {"ad_user_data": "denied"}},
    )
    sent = body(one, GA4("G-ABC123", api_secret="s", user_properties=("plan", "absent")))
    assert sent["user_id"] == "u1"
    assert sent["user_properties"] == {"plan": {"value": "x" * 36}}
    assert sent["consent"] == {"ad_user_data": "DENIED"}
    assert sent["ip_override"] == "203.0.113.7"
    assert sent["user_agent"] == "UA/1"
    assert "device" not in sent


def test_without_a_user_agent_the_device_is_what_is_known() -> None:
    sent = body(event(device=Device(language="en-US", resolution="800x600")))
    assert sent["device"] == {"language": "en", "screen_resolution": "800x600"}
    assert "device" not in body(event(device=Device(language="?", resolution="big")))


@pytest.mark.parametrize("ip", ["", "not an ip", "203.0.113.7, 10.0.0.1"])
def test_what_is_no_address_is_not_sent(ip: str) -> None:
    assert "ip_override" not in body(event(device=Device(ip=ip)))


def test_the_address_stays_here_when_the_owner_says_so() -> None:
    sent = body(event(device=Device(ip="203.0.113.7")), GA4("G-ABC123", api_secret="s", send_ip=False))
    assert "ip_override" not in sent


def test_the_eu_and_an_own_collector() -> None:
    (eu,) = packs([event()], GA4("G-ABC123", api_secret="s", host="region1.google-analytics.com"))
    assert request(eu).url.startswith("https://region1.google-analytics.com/mp/collect?")
    (own,) = packs([event()], GA4("G-ABC123", api_secret="s", host="http://127.0.0.1:8080/"))
    assert request(own).url.startswith("http://127.0.0.1:8080/mp/collect?")


# Names


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [("transaction successful", "event", "transaction_successful"), (" Größe! ", "event", "Größe"), ("購入完了", "event", "購入完了"),
     ("покупка", "event", "покупка"), ("Käufe abgeschlossen", "event", "Käufe_abgeschlossen"), ("Ka\u0308ufe", "event", "Käufe"),
     ("खरीदारी", "event", "खरीदारी"), ("🎉 party", "event", "party"), ("ж" * 40, "event", "ж" * 40), ("Pageview", "pageview", "page_view"),
     ("Order Completed", "ecommerce", "purchase"), ("Order Completed", "event", "Order_Completed"),
     ("Order Updated", "ecommerce", "Order_Updated"), ("a" * 40, "event", "a" * 40), ("Lead", "event", "generate_lead")],
)  # fmt: skip
def test_names(name: str, kind: Any, expected: str) -> None:
    tool = GA4("G-ABC123", api_secret="s", names={"Lead": "generate_lead"})
    assert body(event(name, kind=kind), tool)["events"][0]["name"] == expected


@pytest.mark.parametrize(("name", "expected"), EVENT_NAMES.items())
def test_every_ecommerce_name_is_one_that_ga4_takes(name: str, expected: str) -> None:
    assert body(event(name, kind="ecommerce"))["events"][0]["name"] == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "begins with a letter"), ("🎉", "begins with a letter"), ("٣ж", "begins with a letter"), ("ж" * 41, "longer than"), ("query_id_1", "what GA4 reserves"), ("404", "begins with a letter"), ("__zarazSPA", "what GA4 reserves"),
     ("ga_x", "what GA4 reserves"), ("google x", "what GA4 reserves"), ("firebase_x", "what GA4 reserves"), ("a" * 41, "longer than"),
     ("session_start", "reserved by GA4"), ("user engagement", "reserved by GA4")],
)  # fmt: skip
def test_names_that_ga4_refuses_are_dropped_with_the_reason(name: str, words: str) -> None:
    assert words in dropped(event(name))


# Source: https://support.google.com/analytics/answer/13316687, «Mobile apps» and «Web»; the Measurement Protocol's
# reference, «reserved names»; Firebase's reference of logEvent.
RESERVED = [
    "ad_activeview",
    "ad_click",
    "ad_exposure",
    "ad_query",
    "ad_reward",
    "adunit_exposure",
    "app_background",
    "app_clear_data",
    "app_exception",
    "app_install",
    "app_remove",
    "app_store_refund",
    "app_store_subscription_cancel",
    "app_store_subscription_convert",
    "app_store_subscription_renew",
    "app_update",
    "app_upgrade",
    "dynamic_link_app_open",
    "dynamic_link_app_update",
    "dynamic_link_first_open",
    "error",
    "firebase_campaign",
    "firebase_in_app_message_action",
    "firebase_in_app_message_dismiss",
    "firebase_in_app_message_impression",
    "first_open",
    "first_visit",
    "in_app_purchase",
    "notification_dismiss",
    "notification_foreground",
    "notification_open",
    "notification_receive",
    "notification_send",
    "os_update",
    "session_start",
    "session_start_with_rollout",
    "user_engagement",
]


@pytest.mark.parametrize("name", RESERVED)
def test_every_reserved_name_is_dropped_with_the_reason(name: str) -> None:
    assert "reserve" in dropped(event(name))


@pytest.mark.parametrize(
    "name", ["page_view", "click", "scroll", "file_download", "form_submit", "view_search_results", "purchase"]
)
def test_names_that_googles_own_tag_uses_are_sent(name: str) -> None:
    assert body(event(name))["events"][0]["name"] == name


def test_parameters_in_any_script_and_none_that_is_reserved() -> None:
    properties = {"größe": "XL", "色": "赤", "preis in €": 5, "gclid": "x", "session_number": 3, "user_id": "u", "customer_id": "c",
                  "firebase_conversion": 1, "currency": "EUR", "sid": "s"}  # fmt: skip
    found = params(event(properties=properties))
    assert {name: found[name] for name in found if name not in {"session_id", "engagement_time_msec"}} == {
        "größe": "XL",
        "色": "赤",
        "preis_in": 5,
        "currency": "EUR",
    }


@given(st.text(max_size=60))
def test_a_cleaned_name_is_one_that_stays(name: str) -> None:
    assert cleaned(cleaned(name)) == cleaned(name)


# Age, consent, size


def test_72_hours() -> None:
    assert "72 hours" in dropped(event(timestamp_ms=NOW_MS - 72 * HOUR_MS - 1))
    edge = event(timestamp_ms=NOW_MS - 72 * HOUR_MS)
    assert body(edge)["events"][0]["timestamp_micros"] == (NOW_MS - 72 * HOUR_MS) * 1000


def test_the_future_is_now() -> None:
    assert body(event(timestamp_ms=NOW_MS + HOUR_MS))["events"][0]["timestamp_micros"] == NOW_MS * 1000


def test_denied_analytics_are_not_sent() -> None:
    assert "denied" in dropped(event(properties={"google_consent_default": {"analytics_storage": "denied"}}))


def test_an_event_over_130_kb_is_dropped() -> None:
    products = [{"product_id": f"{at}", **{f"field{n}": "x" * 100 for n in range(26)}} for at in range(200)]
    assert "130 kB" in dropped(event(properties={"products": products}))


# Parameters


def test_a_page_is_part_of_every_event() -> None:
    page = Page(url="https://example.com/" + "p" * 2000, title="t" * 400, referrer="https://r.example/" + "r" * 500)
    found = params(event("Pageview", kind="pageview", page=page))
    assert [len(found[name]) for name in ("page_location", "page_title", "page_referrer")] == [1000, 300, 420]


def test_an_order() -> None:
    found = params(
        event(
            "Order Completed",
            kind="ecommerce",
            properties={
                "order_id": "o1", "total": "12.50", "revenue": 10, "currency": "EUR", "tax": 0, "coupon": "C", "query": "q",
                "products": [
                    {"product_id": "p1", "sku": "s1", "name": "Pen", "brand": "B", "category": "C", "variant": "V", "price": "1.5",
                     "quantity": 2, "position": 1, "coupon": "", "color": "red", "nested": {}},
                    {"sku": "s2", "quantity": "many"}, {"price": 3}, "rubbish",
                ],
            },
        )
    )  # fmt: skip
    assert found == {
        "session_id": "1747132200", "engagement_time_msec": 1, "transaction_id": "o1", "value": 12.5, "search_term": "q",
        "currency": "EUR", "tax": 0, "coupon": "C",
        "items": [
            {"item_id": "p1", "item_name": "Pen", "item_brand": "B", "item_category": "C", "item_variant": "V", "index": 1,
             "price": 1.5, "quantity": 2, "color": "red"},
            {"item_id": "s2"},
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("properties", "value"),
    [({"value": 0}, 0), ({"value": "0"}, 0), ({"price": 3, "value": 0}, 0), ({"total": 9, "value": 5}, 9), ({"revenue": 4}, 4),
     ({"price": "7"}, 7), ({"total": "free", "value": 1}, 1)],
)  # fmt: skip
def test_the_value_of_an_order(properties: Any, value: Any) -> None:
    assert params(event("Order Completed", kind="ecommerce", properties=properties))["value"] == value


def test_one_product_that_is_the_event_itself() -> None:
    found = params(
        event(
            "Product Added",
            kind="ecommerce",
            properties={"product_id": "p", "price": 2, "quantity": 3, "currency": "EUR"},
        )
    )
    assert found["items"] == [{"item_id": "p", "price": 2, "quantity": 3}]
    assert (found["value"], found["currency"]) == (2, "EUR")
    assert "items" not in params(event("Cart Viewed", kind="ecommerce"))


def test_what_is_left_out() -> None:
    properties = {"a": None, "b": [1], "c": {"x": 1}, "d": "", "ga_e": 1, "_f": 1, "9": 1, "x" * 41: 1, "value": "much", "g": False, "h h": 2,
                  "client_id": "1.2", "n" * 40: 10**400, "price": 10**400}  # fmt: skip
    found = params(event(properties=properties))
    assert found == {
        "session_id": "1747132200",
        "engagement_time_msec": 1,
        "g": False,
        "h_h": 2,
        "n" * 40: "1" + "0" * 99,
    }


def test_the_sender_knows_session_and_engagement() -> None:
    found = params(event(properties={"session_id": "77", "engagement_time_msec": 900}))
    assert found == {"session_id": "77", "engagement_time_msec": 900}


def test_what_is_named_first_stays() -> None:
    found = params(event(page=Page(url="https://example.com"), properties={f"p{at}": at for at in range(40)}))
    assert len(found) == 25
    assert list(found)[:4] == ["session_id", "engagement_time_msec", "page_location", "p0"]


# Cookies


def test_a_visitor_without_cookies_gets_them() -> None:
    send, client, session = effects(event(cookies={}))
    assert isinstance(send, Send)
    assert isinstance(client, SetCookie)
    assert isinstance(session, SetCookie)
    assert (client.name, session.name) == ("_ga", "_ga_ABC123")
    assert (client.max_age_s, session.max_age_s) == (365 * 24 * 3600, 1800)
    assert client.value == f"GA1.1.{json.loads(send.payload.scope)['client_id']}"
    again = event("later", cookies={"_ga": str(client.value), "_ga_ABC123": str(session.value)})
    assert [type(effect) for effect in effects(again)] == [Send]


@pytest.mark.parametrize(
    "cookies",
    [
        {"_ga": "amp-abcdef"},
        {"_ga": "GA9.x.new-format"},
        {"_ga": "GA1.1.1.2", "_ga_ABC123": "GS3.1.s1748934661$o1"},
        {"_ga": "GA1.1.1.2", "_ga_ABC123": "GS2.1.s1748934661%24o208%24g1"},
        {"_ga": "GA1.1.1.2", "_ga_ABC123": "what comes next"},
        {"_ga_ABC123": "GS3.1.s1748934661$o1"},
    ],
)
def test_a_cookie_that_is_there_is_left_alone(cookies: dict[str, str]) -> None:
    """Google changed the format in May 2025 without a word; Google's own tag goes on with the cookie that it wrote."""
    assert not [effect for effect in effects(event(cookies=cookies)) if isinstance(effect, SetCookie)]


def test_no_cookies_where_none_are_wanted() -> None:
    assert [type(one) for one in effects(event(cookies={}), GA4("G-ABC123", api_secret="s", set_cookies=False))] == [
        Send
    ]
    assert [type(one) for one in effects(event(cookies={}, properties={"client_id": "1.2"}))] == [Send]
    assert bind(TOOL).answers


# Any event at all

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=150),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=50), inner, max_size=6),
)
KEYS = st.text(max_size=50) | st.sampled_from(
    ["products", "items", "price", "value", "total", "order_id", "session_id", "client_id", "engagement_time_msec",
     "google_consent_update", "user_id", "page_location", "ga_x", "p 1", "p_1", "größe", "色"]
)  # fmt: skip
PROPERTIES = st.dictionaries(KEYS, VALUES, max_size=40)
NAMES = st.text(max_size=60) | st.sampled_from([*EVENT_NAMES, *RESERVED_EVENTS, "buy"])
EVENTS = st.builds(
    Event,
    id=st.text(min_size=1, max_size=20),
    name=NAMES,
    kind=st.sampled_from(["event", "pageview", "ecommerce"]),
    properties=PROPERTIES,
    timestamp_ms=st.integers(NOW_MS - 100 * HOUR_MS, NOW_MS + HOUR_MS),
    recorded_ms=st.just(NOW_MS),
    user_id=st.none() | st.sampled_from(["u", "v"]),
    cookies=st.dictionaries(
        st.sampled_from(["_ga", "_ga_ABC123"]), st.text(max_size=30) | st.just("GA1.1.1.2"), max_size=2
    ),
    device=st.builds(
        Device, ip=st.none() | st.text(), user_agent=st.none() | st.text(), language=st.none() | st.text()
    ),
    page=st.builds(Page, url=st.none() | st.text(max_size=1500), title=st.none() | st.text(max_size=500)),
)


def check_fields(fields: dict[str, Any], most: int) -> None:
    assert len(fields) <= most
    for name, value in fields.items():
        assert is_name(name)
        assert not name.startswith(RESERVED_PREFIXES)
        longest = {"page_location": 1000, "page_title": 300, "page_referrer": 420}.get(name, 100)
        assert name == "items" or (
            isinstance(value, str | int | float) and (not isinstance(value, str) or len(value) <= longest)
        )


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, max_size=8))
def test_every_request_is_within_every_limit(events: list[Event]) -> None:
    tool = bind(GA4("G-ABC123", api_secret="s", user_properties=("p_1", "value")))
    sends = []
    for one in events:
        wanted = list(tool.handle(one))
        assert [type(effect) for effect in wanted].count(Send) + [type(effect) for effect in wanted].count(Drop) == 1
        sends += [effect for effect in wanted if isinstance(effect, Send)]
    made = list(tool.pack(sends))
    assert sorted(id(item) for pack in made for item in pack.items) == sorted(map(id, sends))
    for pack in made:
        sent = json.loads(request(pack).body)
        assert len(request(pack).body) < MAX_BODY_BYTES
        assert len(sent["events"]) == len(pack.items) <= 25
        assert isinstance(sent["client_id"], str)
        for properties in sent.get("user_properties", {}).values():
            assert len(str(properties["value"])) <= 36 or not isinstance(properties["value"], str)
        for one in sent["events"]:
            assert is_name(one["name"])
            assert one["name"] not in RESERVED_EVENTS
            assert not one["name"].startswith(RESERVED_PREFIXES)
            assert (NOW_MS - 72 * HOUR_MS) * 1000 <= one["timestamp_micros"] <= NOW_MS * 1000
            assert {"session_id", "engagement_time_msec"} <= one["params"].keys()
            check_fields(one["params"], 25)
            for item in one["params"].get("items", []):
                check_fields(item, 27)
                assert "item_id" in item or "item_name" in item


@given(st.lists(st.sampled_from("abc"), max_size=120), st.integers(1, 6))
@settings(deadline=None)
def test_a_request_is_one_visitors_in_order_and_as_full_as_can_be(visitors: list[str], length: int) -> None:
    events = [
        event(
            id=f"e{at}",
            cookies={"_ga": f"GA1.1.{who}.1"},
            properties={f"p{n}": "x" * 100 for n in range(length)} | {"at": at},
        )
        for at, who in enumerate(visitors)
    ]
    made = packs(events)
    for who in "abc":
        mine = [
            json.loads(request(pack).body) for pack in made if f'"client_id":"{who}.1"'.encode() in request(pack).body
        ]
        assert [one["params"]["at"] for sent in mine for one in sent["events"]] == [
            at for at, one in enumerate(visitors) if one == who
        ]
        assert len(mine) == -(-visitors.count(who) // 25)


def test_bytes_split_a_request_before_130_kb() -> None:
    products = [{"product_id": f"{at}", "note": "x" * 100} for at in range(150)]
    made = packs([event(id=f"e{at}", properties={"products": products}) for at in range(20)])
    assert len(made) > 1
    assert all(len(request(pack).body) < MAX_BODY_BYTES for pack in made)
    assert sum(len(pack.items) for pack in made) == 20


def test_the_26th_event_of_a_visitor_is_in_a_second_request() -> None:
    assert [len(pack.items) for pack in packs([event(id=f"e{at}") for at in range(26)])] == [25, 1]


@pytest.mark.parametrize(("spare", "requests"), [(0, 1), (-1, 2)])
def test_the_last_byte_below_130_kb_is_used_and_no_more(spare: int, requests: int) -> None:
    (first,) = (effect for effect in effects(event()) if isinstance(effect, Send))
    frame = len(first.payload.scope) + len(b',"events":[]') + 1
    rest = MAX_BODY_BYTES - 1 - frame - len(first.payload.event) - spare
    second = Send(first.payload._replace(event=b'"%b"' % (b"x" * (rest - 2))), size=rest)
    made = list(bind(TOOL).pack([first, second]))
    assert len(made) == requests
    if requests == 1:
        assert len(request(made[0]).body) == MAX_BODY_BYTES - 1


# Answers


@pytest.mark.parametrize(
    ("status", "kind"), [(204, "done"), (200, "done"), (302, "retry"), (404, "retry"), (503, "retry"), (400, "refused")]
)
def test_verdicts(status: int, kind: Any) -> None:
    assert [verdict.kind for verdict in bind(TOOL).verdict(HttpReply(status), [Send(None)] * 2)] == [kind] * 2


def test_the_validation_server() -> None:
    tool = GA4("G-ABC123", api_secret="s", debug=True)
    (pack,) = packs([event()], tool)
    assert urlsplit(request(pack).url).path == "/debug/mp/collect"
    assert json.loads(request(pack).body)["validation_behavior"] == "ENFORCE_RECOMMENDATIONS"
    found = (
        b'{"validationMessages":[{"fieldPath":"events.params","description":"SECRET","validationCode":"NAME_INVALID"}]}'
    )
    (verdict,) = bind(tool).verdict(HttpReply(200, {}, found), [Send(None)])
    assert (verdict.kind, verdict.reason) == ("refused", "NAME_INVALID events.params")
    assert bind(tool).verdict(HttpReply(200, {}, b'{"validationMessages":[]}'), [Send(None)])[0].kind == "done"
    assert bind(tool).verdict(HttpReply(200, {}, b"<html>"), [Send(None)])[0].kind == "retry"


# Settings


def test_the_secret_is_not_shown() -> None:
    (pack,) = packs([event()])
    assert "s3cret" not in repr(TOOL) + repr(TOOL.api_secret) + repr(pack.request)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"measurement_id": "UA-1"}, "measurement_id"), ({"api_secret": ""}, "api_secret is empty"), ({"host": "http://example.com"}, "https"),
     ({"host": "example.com/mp"}, "host alone"), ({"host": ""}, "full address"), ({"names": {"a": "b c"}}, "names: 'b c'"),
     ({"names": {"a": "session_start"}}, "reserved"), ({"user_properties": ["user_id"]}, "reserved"),
     ({"user_properties": ["x" * 25]}, "longer than GA4's 24"), ({"user_properties": [f"p{n}" for n in range(26)]}, "at most 25")],
)  # fmt: skip
def test_what_cannot_work_is_told_at_the_start(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        GA4(**({"measurement_id": "G-ABC123", "api_secret": "s"} | changes))
