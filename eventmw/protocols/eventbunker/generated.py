"""The fields that the server adds to an event. Their names are a closed list, `GENERATED`; no sender can set one of them.

Layer: pure. Source: PROTOCOLS.md 3.1 for the kinds of them; the names are ours.

They are worked out when an event is made, from what its record holds, and an event is never lost for one of them: what
cannot be read is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from eventmw.protocols.eventbunker.agents import agent

MAX_VALUE: Final = 500
"""Characters that are kept of a tag: vendors' click ids have up to about two hundred. Source: assumption."""

MAX_PAIRS: Final = 200
"""Parameters of a page's address that are looked at."""

PAGE_FIELDS: Final = ("url", "page_url")
"""Fields in which senders put the address of the page, in this order; else it is the header ``Referer``."""

CLICK_IDS: Final = frozenset(
    {
        "dclid",
        "epik",
        "fbclid",
        "gbraid",
        "gclid",
        "li_fat_id",
        "msclkid",
        "rdt_cid",
        "ttclid",
        "twclid",
        "wbraid",
        "yclid",
    }
)
"""Parameters by which advertisers know a click again. Source: the vendors' own documentation of each."""

UTM: Final = frozenset(
    {
        "utm_campaign", "utm_content", "utm_creative_format", "utm_id", "utm_marketing_tactic", "utm_medium", "utm_source",
        "utm_source_platform", "utm_term",
    }
)  # fmt: skip
"""Source: Google Analytics, «URL builders: collect campaign data with custom URLs»."""

_TAGS: Final = UTM | CLICK_IDS

GENERATED: Final = frozenset(
    {
        "_ip", "_continent", "_country", "_region", "_city", "_time_zone", "_browser", "_browser_version", "_os",
        "_os_version", "_device", "_referrer_host", *("_" + tag for tag in _TAGS),
    }
)  # fmt: skip
"""The names of all generated fields. Other names that begin with `_`, such as ``_fbp``, are the sender's own."""


_NO_HINTS: Final[Mapping[str, str]] = MappingProxyType({})


def generated(
    fields: Mapping[str, Any],
    user_agent: str | None,
    referer: str | None,
    ip: str | None,
    place: Mapping[str, str],
    *,
    hints: Mapping[str, str] = _NO_HINTS,
) -> dict[str, str]:
    """Return the generated fields of an event.

    Args:
        fields: the event as it was sent.
        user_agent: the header field, or None.
        referer: the header field, or None: for what a page sends, the page's own address.
        ip: the sender's address, or None.
        place: where that is: name → text, without the `_` in front.
        hints: the client hints; see `eventmw.http.client_hints`.
    """
    added: dict[str, str] = {} if ip is None else {"_ip": ip}
    for name, value in place.items():
        added["_" + name] = value
    if user_agent or hints:
        added.update(agent(user_agent or "", hints))
    for name, value in _tags(page_address(fields, referer)):
        added.setdefault("_" + name, value[:MAX_VALUE])
    if host := _host(fields.get("referrer")) or _host(referer):
        added["_referrer_host"] = host
    return added


def page_address(fields: Mapping[str, Any], referer: str | None) -> str | None:
    """Return the address of the page that an event tells of, as it says or as its browser says."""
    return next((address for name in PAGE_FIELDS if isinstance(address := fields.get(name), str)), referer)


def _tags(address: str | None) -> Iterator[tuple[str, str]]:
    """Return the tags in a page's address, of equal ones the first first."""
    if address is None or "?" not in address:
        return
    query = address.partition("?")[2].partition("#")[0]
    try:
        pairs = parse_qsl(query, max_num_fields=MAX_PAIRS)
    except ValueError:
        return
    for name, value in pairs:
        if (plain := name.lower()) in _TAGS:
            yield plain, value


def _host(address: object) -> str | None:
    if not isinstance(address, str) or "//" not in address:
        return None
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
