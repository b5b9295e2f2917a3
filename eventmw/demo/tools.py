"""Where the events of the demo's sites go: a local vendor in three moods, and three tools that answer the browser.

Layer: assembly. The vendor's address comes from the environment, as an owner's secrets would.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Final

from eventmw.contract import Delivery, tool
from eventmw.demo.story import FAILED, LOST
from eventmw.effects import Effect, Return, SetCookie
from eventmw.event import Event
from eventmw.tools import CustomHTML, CustomImage, Webhook

VENDOR: Final = "EVENTMW_DEMO_VENDOR"
"""The environment variable with the vendor's address; without it nobody listens, and events wait in the journal."""

_SOON: Final = Delivery(first_backoff_s=0.2, max_backoff_s=1.0)  # so that nobody waits long for a demonstration
_NOBODY: Final = "http://127.0.0.1:9"  # the discard port


@tool("greeting", answers=True)
def greeting(event: Event) -> Iterator[Effect]:
    """Show the Result keys ``return`` and ``cookies``; a tool that is one function."""
    yield Return(f"thank you for {event.name or 'your event'}")
    yield SetCookie("visitor", f"{event.derive('visitor'):016x}", path="/", max_age_s=86_400, same_site="Lax")


def tools_of_restarted() -> Sequence[object]:
    """Return the tool of the site that is killed: a vendor that is away at times."""
    vendor = os.environ.get(VENDOR, _NOBODY)
    return (Webhook(f"{vendor}/restarted/away", id="away", delivery=_SOON),)


def tools_of(site: str) -> Sequence[object]:
    """Return the tools of one site, whose name tells its events apart at the vendor."""
    vendor = f"{os.environ.get(VENDOR, _NOBODY)}/{site}"
    return (
        Webhook(f"{vendor}/steady", id="steady"),
        Webhook(f"{vendor}/failing", id="failing", when=FAILED, delivery=_SOON),
        Webhook(f"{vendor}/forgetful", id="forgetful", when=LOST, delivery=_SOON),
        CustomImage("https://pixel.example/seen.gif?name={{ event.name }}"),
        CustomHTML("<script>console.log({{ event.name }})</script>"),
        greeting,
    )
