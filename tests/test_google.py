"""What Google's tags know of a visitor."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.event import Event
from eventmw.toolkit import google

NOW_MS = 1_747_132_700_000


def event(ident: str = "e", *, cookies: Any = None, user_id: str | None = None, properties: Any = None) -> Event:
    return Event(
        id=ident,
        name="n",
        timestamp_ms=NOW_MS,
        recorded_ms=NOW_MS,
        cookies=cookies or {},
        user_id=user_id,
        properties=properties or {},
    )


@pytest.mark.parametrize(
    ("cookie", "client_id"),
    [
        ("GA1.1.1162820436.1749482504", "1162820436.1749482504"),
        ("GA1.2-2.1.2", "1.2"),
        ("GA1.1.amp-AbC_9", "amp-AbC_9"),
    ],
)
def test_the_client_of_the_cookie(cookie: str, client_id: str) -> None:
    assert google.client(event(cookies={"_ga": cookie})) == google.Id(client_id)


@pytest.mark.parametrize(
    ("cookie", "session_id"),
    [  # The first three stand in the articles that the module names.
        ("GS1.1.1746825440.14.0.17468254406.0.0.295082955", "1746825440"),
        ("GS2.1.s1747132561$o1$g0$t1747132655$j0$l0$h0", "1747132561"),
        ("GS2.1.s1747323152$o28$g0$t1747323152$j60$l0$h69286059", "1747323152"),
        ("GS2.1.o1$t17$s1747132561", "1747132561"),
        ("GS1.1.1746825440", "1746825440"),
    ],
)
def test_the_session_of_the_cookie(cookie: str, session_id: str) -> None:
    found = google.session(event(cookies={"_ga_ABC1": cookie}), "G-ABC1")
    assert found == google.Id(session_id)


@given(st.text())
def test_any_cookie_gives_ids(text: str) -> None:
    someone = event(cookies={"_ga": text, "_ga_ABC1": text})
    assert google.client(someone).value
    assert google.session(someone, "G-ABC1").value.isdigit()


@given(st.text(min_size=1), st.none() | st.text(min_size=1))
def test_made_up_ids_are_the_same_in_every_run_and_come_back_from_their_cookies(
    ident: str, user_id: str | None
) -> None:
    first = event(ident, user_id=user_id)
    client, session = google.client(first), google.session(first, "G-ABC1")
    assert (client, session) == (google.client(first), google.session(first, "G-ABC1"))
    later = event("later", cookies={"_ga": client.cookie, "_ga_ABC1": session.cookie})
    assert google.client(later) == google.Id(client.value)
    assert google.session(later, "G-ABC1") == google.Id(session.value)


def test_a_user_is_one_client_and_strangers_are_several() -> None:
    assert google.client(event("a", user_id="u")) == google.client(event("b", user_id="u"))
    assert google.client(event("a", user_id="u")) != google.client(event("a", user_id="v"))
    assert google.client(event("a")) != google.client(event("b"))


def test_events_of_half_an_hour_are_one_session() -> None:
    assert google.session(event("a"), "G-ABC1") == google.session(event("b"), "G-ABC1")
    assert NOW_MS // 1000 - int(google.session(event(), "G-ABC1").value) < google.SESSION_S


def test_the_sender_has_the_first_word() -> None:
    given_ids = event(
        cookies={"_ga": "GA1.1.1.2", "_ga_ABC1": "GS1.1.5.1"}, properties={"client_id": "7.8", "session_id": 9}
    )
    assert google.client(given_ids) == google.Id("7.8")
    assert google.session(given_ids, "G-ABC1") == google.Id("9")


@pytest.mark.parametrize(
    ("client_id", "value"), [("GA1.1.1.2", "1.2"), ("GA1.2-2.5.6", "5.6"), ("1.2", "1.2"), ("amp-AbC_9", "amp-AbC_9")]
)
def test_a_client_that_is_the_whole_cookie_is_sent_without_its_prefix(client_id: str, value: str) -> None:
    assert google.client(event(properties={"client_id": client_id})) == google.Id(value)


@pytest.mark.parametrize(
    ("session_id", "value"),
    [
        ("1748934661", "1748934661"),
        (1748934661, "1748934661"),
        ("s1748934661$o1$g0$t1748934700", "1748934661"),
        ("o1$s1748934661", "1748934661"),
        ("s1748934661%24o1", "1748934661"),
        ("GS2.1.s1748934661$o1", "1748934661"),
        ("GS1.1.1748934661.1.0", "1748934661"),
    ],
)
def test_a_session_that_is_the_cookie_or_a_part_of_it_is_read(session_id: str | int, value: str) -> None:
    assert google.session(event(properties={"session_id": session_id}), "G-ABC1") == google.Id(value)


def test_a_session_of_the_senders_own_form_stays_one_session() -> None:
    """GA4 takes digits only."""
    one, same, other = (
        google.session(event(properties={"session_id": text}), "G-ABC1") for text in ("a-1", "a-1", "b-2")
    )
    assert one == same != other
    assert one.value.isdigit()
    assert not one.cookie


@pytest.mark.parametrize("nothing", ["", " ", None, [], True, 1.5])
def test_no_session_is_made_up(nothing: Any) -> None:
    assert google.session(event(properties={"session_id": nothing}), "G-ABC1").cookie


def test_a_cookie_that_cannot_be_read_is_one_visitor_and_is_not_replaced() -> None:
    one, same, other = (
        google.client(event(str(n), cookies={"_ga": text})) for n, text in enumerate(["amp-a", "amp-a", "amp-b"])
    )
    assert one == same != other
    assert (one.cookie, one.unreadable) == ("", True)
    session = google.session(event(cookies={"_ga_ABC1": "GS3.1.s1748934661$o1"}), "G-ABC1")
    assert (session.cookie, session.unreadable) == ("", True)


@pytest.mark.parametrize("cookie", ["GS2.1.s1747132561%24o1%24g0", "GS2.1.s1747132561$o1"])
def test_a_percent_encoded_cookie_is_read(cookie: str) -> None:
    assert google.session(event(cookies={"_ga_ABC1": cookie}), "G-ABC1") == google.Id("1747132561")


def test_consent_signals() -> None:
    told = event(
        properties={
            "google_consent_default": {
                "ad_user_data": "denied",
                "analytics_storage": "denied",
                "ad_personalization": ["granted"],
            },
            "google_consent_update": {"ad_user_data": "granted"},
        }
    )
    assert google.consent_signals(told)["analytics_storage"] == "denied"
    assert google.ads_consent(told) == {"ad_user_data": "GRANTED"}
    assert google.ads_consent(event(properties={"google_consent_update": "granted"})) == {}


@given(st.text(alphabet="GS12.s$o0\n", max_size=60))
def test_any_cookie_of_a_session_is_read_or_not_and_never_raises(cookie: str) -> None:
    found = google.session(event(cookies={"_ga_ABC": cookie}), "G-ABC")
    assert found.value.isdigit()


def test_a_hostile_cookie_is_looked_at_once() -> None:
    """A pattern with two ways to the same end took hours for this one; it would outlast the test's own time-out."""
    cookie = "GS2.1." + "s1$" * 300_000 + "\n"
    assert google.session(event(cookies={"_ga_ABC": cookie}), "G-ABC").value == "1"
    cookie = "GS2.1." + "sx$" * 300_000 + "\n"
    assert google.session(event(cookies={"_ga_ABC": cookie}), "G-ABC").unreadable
