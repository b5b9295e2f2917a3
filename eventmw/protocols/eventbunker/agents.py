"""What a user agent says of browser, system and device. The only importer of ua-parser.

Layer: pure rules. Source: the ua-parser project's regular expressions, «uap-core».
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any, Final

log = logging.getLogger("eventmw")

MAX_LENGTH: Final = 512
"""Characters of a user agent that are looked at: browsers write up to about three hundred, and each is held against
hundreds of expressions."""

MAX_KNOWN: Final = 4_096
"""User agents whose meaning is remembered: one that is new takes milliseconds, and most visitors share a few hundred."""

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_UNKNOWN: Final = "Other"
"""What the expressions' authors call all that they do not know."""


@lru_cache(maxsize=MAX_KNOWN)
def _known(user_agent: str) -> Mapping[str, str]:
    parse = parser()
    if parse is None:
        return _NOTHING
    try:
        found = parse(user_agent)
    except Exception as error:  # noqa: BLE001 - a library that fails must not cost an event
        log.warning("ua-parser failed at a user agent: %s", type(error).__name__)
        return _NOTHING
    browser, system, device = found.user_agent, found.os, found.device
    named = {
        "_browser": browser and browser.family,
        "_browser_version": browser and _version(browser.major, browser.minor),
        "_os": system and system.family,
        "_os_version": system and _version(system.major, system.minor),
        "_device": device and device.family,
    }
    return MappingProxyType({name: value for name, value in named.items() if value and value != _UNKNOWN})


def agent(user_agent: str) -> Mapping[str, str]:
    """Return ``_browser``, ``_browser_version``, ``_os``, ``_os_version`` and ``_device``, as far as they are known."""
    return _known(user_agent[:MAX_LENGTH])


def _version(*parts: str | None) -> str:
    return ".".join(part for part in parts if part)


@cache
def parser() -> Callable[[str], Any] | None:
    """Return ua-parser's parser, made once; None when the package is missing or broken.

    Importing it takes long, so that nobody does before the first user agent, or before threads and forks may meet.
    """
    try:
        import ua_parser  # noqa: PLC0415 - as said above

        resolver = ua_parser.BestAvailableResolver(ua_parser.load_lazy_builtins())
        return ua_parser.Parser(resolver).parse
    except Exception as error:  # noqa: BLE001 - as above
        log.warning("user agents stay unread, since ua-parser cannot be used: %s", type(error).__name__)
        return None
