"""The liberal reading of ``system``, and of what else an Event Object holds: PROTOCOLS.md 2.1."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.event import USER_FIELDS, Event, Record
from eventmw.protocols.zaraz.accept import is_valid, needs_no_advice
from eventmw.protocols.zaraz.events import event
from eventmw.protocols.zaraz.judge import Judge
from eventmw.protocols.zaraz.system import KNOWN, NEAR_MISSES, near_miss, read
from eventmw.toolkit.eventjson import as_json
from tests import strategies as own

NOW_MS = 1_796_059_474_123
BROWSER = {"user-agent": "Mozilla/5.0 (B)", "accept-language": "de-DE,de;q=0.9", "sec-ch-ua-platform": '"Linux"'}


def made(value: Any, **recorded: Any) -> Event:
    return event(value, Record("0" * 32, NOW_MS, "zaraz", "anonymous", **recorded), 0)


def notes(value: Any, *, strict: bool = False) -> list[tuple[str, str]]:
    judge = Judge(max_events=10, max_depth=32, strict=strict)
    judgement = judge(json.dumps({"events": [value]}).encode(), NOW_MS)
    return [(note.fault.path.removeprefix("/events/0"), note.fault.message) for note in judgement.notes if note.fault]


@pytest.mark.parametrize("absent", [None, [], ""])
@pytest.mark.parametrize(
    "place",
    ["eventmw", "eventmw.id", "eventmw.timestamp", "system", "system.cookies", "system.device", "system.page",
     *(f"system.device.{key}" for key in ("ip", "resolution", "viewport", "language", "user-agent")),
     *(f"system.page.{key}" for key in ("url", "title", "referrer", "encoding")), "client.__zarazEcommerce"],
)  # fmt: skip
@pytest.mark.parametrize("strict", [False, True])
def test_absent_is_absent_without_a_word(place: str, absent: Any, *, strict: bool) -> None:
    """Also with `strict`: `document.referrer` is "" at every direct visit."""
    value: Any = {"client": {"__zarazTrack": "x"}}
    inner = value
    *outer, last = place.split(".")
    for key in outer:
        inner = inner.setdefault(key, {})
    inner[last] = absent
    assert notes(value, strict=strict) == []
    assert as_json(made(value)) == as_json(made({"client": {"__zarazTrack": "x"}}))


@pytest.mark.parametrize(
    ("written", "name"),
    [(None, ""), ([], ""), ("", ""), (42, "42"), (1.5, "1.5"), (10**30, str(10**30)), (True, "true")],
)
def test_the_name_is_text(written: Any, name: str) -> None:
    value = {"client": {"__zarazTrack": written}}
    assert is_valid(value)
    assert made(value).name == name
    assert [path for path, _ in notes(value)] == (["/client/__zarazTrack"] if written == "" else [])
    judge = Judge(max_events=10, max_depth=32, strict=True)
    assert judge(json.dumps({"events": [value]}).encode(), NOW_MS).invalid == [], "absent, so never refused"


@pytest.mark.parametrize(
    ("written", "ident"), [(4711, "4711"), (-1.5, "-1.5"), (10**30, str(10**30)), (True, "true"), ("a", "a")]
)
def test_an_id_is_text(written: Any, ident: str) -> None:
    value = {"client": {}, "eventmw": {"id": written}}
    assert notes(value) == []
    assert made(value).id == ident


@pytest.mark.parametrize(
    ("written", "is_one", "is_warned"),
    [(True, True, False), (False, False, False), ("true", True, True), ("1", True, True), (1, True, True), (1.0, True, True),
     ("TRUE", True, True), ("yes", False, True), ("false", False, True), (0, False, True), ({}, False, True)],
)  # fmt: skip
def test_ecommerce_as_forms_and_php_write_it(written: Any, *, is_one: bool, is_warned: bool) -> None:
    value = {"client": {"__zarazTrack": "Order Completed", "__zarazEcommerce": written}}
    assert (made(value).kind == "ecommerce") == is_one
    assert bool(notes(value)) == is_warned


@pytest.mark.parametrize(
    ("system", "section", "key"),
    [
        ({"device": {"userAgent": "v"}}, "device", "user-agent"),
        ({"device": {"user_agent": "v"}}, "device", "user-agent"),
        ({"device": {"ua": "v"}}, "device", "user-agent"),
        ({"device": {"User-Agent": "v"}}, "device", "user-agent"),
        ({"page": {"user-agent": "v"}}, "device", "user-agent"),
        ({"userAgent": "v"}, "device", "user-agent"),
        ({"device": {"IP": "192.0.2.1"}}, "device", "ip"),
        ({"device": {"ip_address": "192.0.2.1"}}, "device", "ip"),
        ({"ip": "192.0.2.1"}, "device", "ip"),
        ({"device": {"lang": "v"}}, "device", "language"),
        ({"page": {"language": "v"}}, "device", "language"),
        ({"page": {"referer": "https://v.example"}}, "page", "referrer"),
        ({"device": {"referer": "https://v.example"}}, "page", "referrer"),
        ({"device": {"referrer": "https://v.example"}}, "page", "referrer"),
        ({"referrer": "https://v.example"}, "page", "referrer"),
        ({"page": {"href": "https://v.example"}}, "page", "url"),
        ({"page": {"location": "https://v.example"}}, "page", "url"),
        ({"page": {"URL": "https://v.example"}}, "page", "url"),
        ({"url": "https://v.example"}, "page", "url"),
        ({"page": {"Title": "v"}}, "page", "title"),
        ({"page": {"charset": "v"}}, "page", "encoding"),
        ({"device": {"screenResolution": "1x1"}}, "device", "resolution"),
        ({"Device": {"language": "v"}}, "device", "language"),
    ],
)  # fmt: skip
def test_near_misses_are_read_with_a_warning_that_names_the_right_key(system: Any, section: str, key: str) -> None:
    found = made({"client": {}, "system": system})
    assert set(found.system[section]) == {key}
    assert getattr(found.device if section == "device" else found.page, key.replace("-", "_"))
    ((path, words),) = notes({"client": {}, "system": system})
    assert path.startswith("/system/")
    assert key in words or section in words
    assert found.system.keys() == {"cookies", "device", "page"}


def test_the_right_key_wins_and_the_other_is_handed_on() -> None:
    found = made(
        {"client": {}, "system": {"device": {"ua": "near", "user-agent": "right"}, "page": {"user_agent": "far"}}}
    )
    assert found.device.user_agent == "right"
    assert found.system["device"] == {"ua": "near", "user-agent": "right"}
    assert found.system["page"] == {"user_agent": "far"}
    found = made({"client": {}, "system": {"device": {"ua": "near", "user-agent": ""}}})
    assert found.system["device"] == {"user-agent": "near"}, "an empty one is absent"


def test_what_is_unknown_is_handed_on() -> None:
    value = {
        "client": {}, "context": {"a": 1},
        "system": {"consent": {"a": True}, "device": {"model": "M", "ip": 5}, "page": {"path": None, "ua": {"a": 1}}},
    }  # fmt: skip
    body = as_json(made(value))
    assert body["extra"] == {"context": {"a": 1}}
    assert body["system"] == {"consent": {"a": True}}
    assert body["device"] == {"model": "M", "ip": "5"}
    assert body["page"] == {"path": None, "ua": {"a": 1}}


def test_a_browsers_own_header_fields_fill_in() -> None:
    """PROTOCOLS.md 2.1: like its address."""
    bare = made({"client": {}}, client_ip="192.0.2.9", browser=BROWSER)
    assert (bare.device.ip, bare.device.user_agent, bare.device.language) == ("192.0.2.9", "Mozilla/5.0 (B)", "de-DE")
    assert bare.system["device"]["client-hints"] == {"platform": '"Linux"'}
    said = {"client": {}, "system": {"device": {"ip": "", "userAgent": "own", "language": "fr"}}}
    own_words = made(said, client_ip="192.0.2.9", browser=BROWSER)
    assert (own_words.device.ip, own_words.device.user_agent, own_words.device.language) == ("192.0.2.9", "own", "fr")
    assert made({"client": {}}, browser={"accept-language": "*"}).device.language is None


@pytest.mark.parametrize("field", USER_FIELDS)
def test_the_person_is_named_as_erasing_finds_them(field: str) -> None:
    after = USER_FIELDS[USER_FIELDS.index(field) + 1 :]
    before = USER_FIELDS[: USER_FIELDS.index(field)]
    client = dict.fromkeys(after, "later") | dict.fromkeys(before, "") | {field: 42}
    assert made({"client": client}).user_id == "42"


@given(st.sampled_from(["", "device", "page"]), st.data())
def test_the_schema_knows_the_same_near_misses(section: str, data: st.DataObject) -> None:
    """The advice schema is published, and says of each spelling what the table says."""
    name = data.draw(st.sampled_from(sorted(NEAR_MISSES[section])))
    key = "".join(
        letter.upper() if data.draw(st.booleans()) else letter + data.draw(st.sampled_from(["", "", "", "-", "_", "x"]))
        for letter in name
    )
    system: Any = {key: {}} if not section else {section: {key: {}}}
    advised = [path for path, words in notes({"client": {}, "system": system}) if "got this one" in words]
    assert bool(advised) == (near_miss(section, key) is not None)


@given(own.SYSTEMS)
def test_what_is_written_right_stays_as_it_is(system: Any) -> None:
    told = read(system)
    assert needs_no_advice({"client": {}, "system": system})
    for part, section in ((told.device, "device"), (told.page, "page")):
        assert part == {key: value for key, value in system.get(section, {}).items() if value}
        assert KNOWN[section] >= part.keys()
