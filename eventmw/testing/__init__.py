"""For the tests of people who write tools or wrap sites. See docs/testing.md.

::

    from eventmw.testing import an_event, captured, effects_of

    def test_my_tool():
        assert effects_of(MyTool(), an_event("purchase", {"value": 12})) == [Send(...)]

    def test_my_site():
        with captured() as events:
            ...  # post events to the site with the test client of its framework
            events.assert_sent("purchase", value=12)

The fixture ``eventmw_events`` of the pytest plugin is ``captured()`` around a test. `eventmw.testing.strategies` has
Hypothesis strategies for payloads, and `eventmw.testing.django` what Django's own tests need.

Layer: gateways and people. Names are imported when they are first asked for, so that the plugin costs a test run that does
not use it nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from eventmw.testing.capture import Captured, captured
    from eventmw.testing.parts import (
        NOW_MS,
        FixedKeys,
        FrozenClock,
        RecordingTransport,
        an_event,
        effects_of,
    )
    from eventmw.testing.sent import DeadEvent, RefusedEvent, SentEvent
    from eventmw.testing.sites import deliver, freeze, record, with_keys
    from eventmw.vendor import Vendor

_HOMES: Final = {
    "eventmw.testing.capture": ("Captured", "captured"),
    "eventmw.testing.parts": (
        "NOW_MS",
        "FixedKeys",
        "FrozenClock",
        "RecordingTransport",
        "an_event",
        "effects_of",
    ),
    "eventmw.testing.sent": ("DeadEvent", "RefusedEvent", "SentEvent"),
    "eventmw.testing.sites": ("deliver", "freeze", "record", "with_keys"),
    "eventmw.vendor": ("Vendor",),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "NOW_MS",
    "Captured",
    "DeadEvent",
    "FixedKeys",
    "FrozenClock",
    "RecordingTransport",
    "RefusedEvent",
    "SentEvent",
    "Vendor",
    "an_event",
    "captured",
    "deliver",
    "effects_of",
    "freeze",
    "record",
    "with_keys",
]


def __getattr__(name: str) -> Any:
    """Look a public name up where it lives."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Name what is public, looked up or not."""
    return sorted({*globals(), *__all__})
