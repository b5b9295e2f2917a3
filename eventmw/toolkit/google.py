"""What Google's tags know of a visitor: client id, session, consent signals; read from an event, or made up for it.

Layer: pure rules. Ids that are made up are functions of the event, so every run makes the same.

Source: the cookies ``_ga`` and ``_ga_<id>`` are in no document of Google's; they are as described by David Vallejo,
thyngster.com, «Google Analytics 4 Cookie Format Change: From GS1 to GS2 Explained» (2025). The consent signals are Zaraz's
reserved properties ``google_consent_default`` and ``google_consent_update``.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from eventmw.event import Event
from eventmw.jsontext import is_object

SESSION_S: Final = 1800
"""A session that has to be made up is the half hour in which the event was recorded. Source: assumption; Google's own end
after 30 minutes without activity."""

_client_id = re.compile(r"[A-Za-z0-9._-]{1,100}").fullmatch
_session_id = re.compile(r"[0-9]{1,20}").fullmatch
_ga = re.compile(r"GA[0-9]+\.[0-9-]+\.([A-Za-z0-9._-]{1,100})").fullmatch

MAX_COOKIE: Final = 4096
"""Characters of a cookie that are looked at. Source: RFC 6265 6.1, what a browser keeps."""


class Id(NamedTuple):
    """An id, and the value of the cookie to set for it.

    ``cookie`` is "" when the id came with the event, and when the visitor has a cookie that cannot be read: it may be of a
    format that is newer than this module, and belongs to Google's own tag. ``unreadable`` says so.
    """

    value: str
    cookie: str = ""
    unreadable: bool = False


def client(event: Event) -> Id:
    """Return who it was: the property ``client_id``, the cookie ``_ga``, or an id made of what there is.

    That is the text of a cookie that cannot be read, so that one visitor stays one; or else the user id; or else the event.
    One made of the event is new for each event, so a sender that knows neither cookies nor users counts visits as visitors.
    """
    given = event.properties.get("client_id")
    if isinstance(given, str) and (found := _ga(given)):  # the whole cookie
        return Id(found[1])
    if isinstance(given, str) and _client_id(given):
        return Id(given)
    cookie = _cookie(event, "_ga")
    if found := _ga(cookie):
        return Id(found[1])
    if cookie:
        return Id(_made_of(f"ga cookie\0{cookie}"), unreadable=True)
    made = (
        _made_of(f"ga\0{event.user_id}") if event.user_id else f"{event.derive('ga') >> 32}.{event.recorded_ms // 1000}"
    )
    return Id(made, f"GA1.1.{made}")


def _made_of(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"{int.from_bytes(digest[:4], 'big')}.{int.from_bytes(digest[4:8], 'big')}"


def _cookie(event: Event, name: str) -> str:
    """Return a cookie as a browser's page writes it; some libraries hand it on percent-encoded, ``GS2.1.s1%24o2``."""
    return unquote(event.cookies.get(name, "")[:MAX_COOKIE]).strip()


def session(event: Event, measurement_id: str) -> Id:
    """Return the session: the property ``session_id``, the cookie, or the half hour in which the event was recorded.

    A property may be the session alone, the whole cookie, or its part behind the version. GA4 takes digits only, so any
    other text is made a number, the same one each time. What a new cookie holds beside the session: its number, engaged,
    the time of the last event. Source: assumption.
    """
    given = event.properties.get("session_id")
    if (
        isinstance(given, str | int)
        and not isinstance(given, bool)
        and (text := unquote(str(given)[:MAX_COOKIE]).strip())
    ):
        return Id(_session_named(text))
    cookie = _cookie(event, session_cookie(measurement_id))
    if found := _session_in(cookie):
        return Id(found)
    now_s = event.recorded_ms // 1000
    start_s = now_s - now_s % SESSION_S
    if cookie:
        return Id(str(start_s), unreadable=True)
    return Id(str(start_s), f"GS2.1.s{start_s}$o1$g1$t{now_s}$j60$l0$h0")


def _session_named(text: str) -> str:
    if _session_id(text):
        return text
    found = _session_in(text) or _session_in(f"GS2.1.{text}")
    return found or str(int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big"))


def _session_in(cookie: str) -> str | None:
    """Return the session that a cookie names, in time that grows with its length alone: any sender may write it.

    ``GS1.1.<session>.<count>.…`` has places; ``GS2.1.s<session>$o<count>$…`` has letters, in any order.
    """
    version, _, rest = cookie.partition(".")
    fields = rest.partition(".")[2]
    if version == "GS1":
        found = fields.partition(".")[0]
    elif version == "GS2":
        found = next((field[1:] for field in fields.split("$") if field[:1] == "s" and _session_id(field[1:])), "")
    else:
        found = ""
    return found if _session_id(found) else None


def session_cookie(measurement_id: str) -> str:
    """Return the name of the cookie that holds a stream's session: ``G-ABC`` → ``_ga_ABC``."""
    return f"_ga_{measurement_id.removeprefix('G-')}"


def consent_signals(event: Event) -> dict[str, Any]:
    """Return the consent signals, ``{"ad_user_data": "granted", …}``; an update goes over a default."""
    given = (event.properties.get(f"google_consent_{kind}") for kind in ("default", "update"))
    return {name: value for signals in given if is_object(signals) for name, value in signals.items()}


def ads_consent(event: Event) -> dict[str, str]:
    """Return the consent that Google's server APIs take, such as ``{"ad_user_data": "GRANTED"}``; {} when nothing is said.

    Source: developers.google.com/analytics/devguides/collection/protocol/ga4/reference, «consent».
    """
    signals = consent_signals(event)
    wanted = {name: signals.get(name) for name in ("ad_user_data", "ad_personalization")}
    return {name: value.upper() for name, value in wanted.items() if value in ("granted", "denied")}
