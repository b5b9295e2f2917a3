"""The liberal reading of ``system``: what counts as absent, what becomes text, and which misspelt keys are read too.

Layer: pure. Source: PROTOCOLS.md 2.1; the seed's table of system keys. The near misses are those of public senders and
of the browser's own names (``navigator.userAgent``, ``document.referrer``, ``location.href``); reading them is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

Place = tuple[str, str]
"""A section of ``system``, or "" for ``system`` itself, and a key in it."""

DEVICE: Final = ("ip", "resolution", "viewport", "language", "user-agent")
PAGE: Final = ("url", "title", "referrer", "encoding")
HINTS: Final = "client-hints"
"""The key in ``device`` of an object with the browser's client hints; see `eventmw.http.client_hints`."""

SECTIONS: Final = ("cookies", "device", "page")
KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset(SECTIONS),
    "device": frozenset({*DEVICE, HINTS}),
    "page": frozenset(PAGE),
}

# Names without capitals, dashes, underscores and blanks → where they belong. In their own section, and in a wrong one.
_OWN: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    "device": {
        "ip": ("ip", "ipaddress", "ipaddr", "ipv4", "ipv6", "clientip", "remoteaddr", "remoteip", "userip"),
        "resolution": ("resolution", "screenresolution", "screensize", "screen"),
        "viewport": ("viewport", "viewportsize"),
        "language": ("language", "lang", "locale", "browserlanguage"),
        "user-agent": ("useragent", "ua", "httpuseragent"),
        HINTS: ("clienthints",),
    },
    "page": {
        "url": ("url", "href", "location", "uri", "pageurl", "documenturl"),
        "title": ("title", "pagetitle", "documenttitle"),
        "referrer": ("referrer", "referer", "httpreferer", "documentreferrer"),
        "encoding": ("encoding", "charset", "characterset", "characterencoding"),
    },
}
_MISPLACED: Final[Mapping[Place, Sequence[str]]] = {
    ("device", "ip"): ("ip", "ipaddress", "clientip"),
    ("device", "resolution"): ("screenresolution", "resolution"),
    ("device", "viewport"): ("viewport",),
    ("device", "language"): ("language", "lang", "locale"),
    ("device", "user-agent"): ("useragent", "ua"),
    ("device", HINTS): ("clienthints",),
    ("page", "url"): ("url", "href", "pageurl"),
    ("page", "title"): ("pagetitle", "documenttitle"),
    ("page", "referrer"): ("referrer", "referer", "documentreferrer"),
    ("page", "encoding"): ("charset", "characterset"),
}
_AT_TOP: Final[Mapping[str, Place]] = {
    "device": ("", "device"), "page": ("", "page"), "cookies": ("", "cookies"), "cookie": ("", "cookies"),
}  # fmt: skip


def _table() -> dict[str, dict[str, Place]]:
    misplaced = {name: place for place, names in _MISPLACED.items() for name in names}
    table = {"": {**misplaced, "title": ("page", "title"), "encoding": ("page", "encoding"), **_AT_TOP}}
    for section, keys in _OWN.items():
        elsewhere = {name: place for name, place in misplaced.items() if place[0] != section}
        table[section] = elsewhere | {name: (section, key) for key, names in keys.items() for name in names}
    return table


NEAR_MISSES: Final[Mapping[str, Mapping[str, Place]]] = _table()
"""Section → folded name → where that name belongs."""

_FOLDED: Final = str.maketrans("", "", "-_ .")
_MAX_NAME: Final = 40


@lru_cache(maxsize=512)  # senders have few names, and each comes with every event
def near_miss(section: str, key: str) -> Place | None:
    """Return where a key of a section belongs when it is a misspelling or stands in the wrong place, else None."""
    if key in KNOWN[section] or len(key) > _MAX_NAME or not key.isascii():
        return None
    return NEAR_MISSES[section].get(key.translate(_FOLDED).lower())


class System(NamedTuple):
    """``system`` as it is read: only known keys are texts, and none of them is empty. ``rest`` is what else it held."""

    cookies: Mapping[str, str]
    device: Mapping[str, Any]
    page: Mapping[str, Any]
    rest: Mapping[str, Any]


_NOTHING: Final[dict[str, Any]] = {}
_encode = msgspec.json.encode


def read(value: Any) -> System:
    """Return ``system`` after the liberal reading.

    A known key wins over a near miss of it, which is then handed on under its own name.
    """
    whole = as_object(value)
    device, page = whole.get("device", _NOTHING), whole.get("page", _NOTHING)
    if _is_plain(whole, "") and _is_plain(device, "device") and _is_plain(page, "page"):
        return System(_cookies(whole.get("cookies")), device, page, _NOTHING)
    return _read_slowly(whole)


def _is_plain(part: Any, section: str) -> bool:
    """Return whether there is nothing to read liberally, as in nearly every event."""
    known: dict[str, Any] = part
    if type(part) is not dict or not KNOWN[section].issuperset(known):
        return False
    if section:
        for inner in known.values():
            if type(inner) is not str or not inner:
                return False
    return True


def _read_slowly(whole: Mapping[str, Any]) -> System:
    sections = {name: as_object(whole.get(name)) for name in SECTIONS}
    rest: dict[str, Any] = {}
    for key, value in whole.items():
        _, name = near_miss("", key) or ("", "")
        if name in sections and not sections[name] and as_object(value):  # such as `Device`
            sections[name] = value
        elif key not in sections:
            rest[key] = value
    known = {section: _known(section, sections[section]) for section in ("device", "page")}
    others = {
        section: _others(section, part, known)
        for section, part in (("device", sections["device"]), ("page", sections["page"]), ("", rest))
    }
    return System(
        _cookies(sections["cookies"]), others["device"] | known["device"], others["page"] | known["page"], others[""]
    )


def _known(section: str, part: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: _meaning((section, key), value) for key, value in part.items() if key in KNOWN[section]}
    return {key: value for key, value in found.items() if value is not None}


def _others(section: str, part: Mapping[str, Any], known: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the keys of a section that stay as they are, and put what its near misses mean into `known`.

    Of two near misses of one key the first counts. One whose value has no meaning at its place stays.
    """
    kept: dict[str, Any] = {}
    for key, value in part.items():
        if section and key in KNOWN[section]:
            continue
        place = near_miss(section, key)
        plain = None if place is None or not place[0] or place[1] in known[place[0]] else _meaning(place, value)
        if place is None or plain is None:
            kept[key] = value
        else:
            known[place[0]][place[1]] = plain
    return kept


def _meaning(place: Place, value: Any) -> Any:
    """Return what a value means at its place, None when it is absent or of a wrong type."""
    return (as_object(value) or None) if place[1] == HINTS else text(value)


def _cookies(value: Any) -> Mapping[str, str]:
    part = as_object(value)
    for inner in part.values():
        if type(inner) is not str or not inner:
            return {name: plain for name, inner in part.items() if (plain := text(inner)) is not None}
    return part


def as_object(value: Any) -> dict[str, Any]:
    """Return an object as it is; null, ``[]``, "" and every other kind count as an empty one."""
    part: dict[str, Any] = value
    return part if type(part) is dict else {}


def text(value: Any) -> str | None:
    """Return a text as it is, of a number or a boolean its JSON text; None of all else, and of "", which is absent."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool | int | float):
        return _encode(value).decode()
    return None
