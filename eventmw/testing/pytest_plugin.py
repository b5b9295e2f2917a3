"""The pytest plugin: the fixture ``eventmw_events``, and failures that show what the sites did. See docs/testing.md.

pytest imports this module at its start, also for suites that never use it, so it imports nothing of eventmw before a test
asks for the fixture.

Layer: people.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest

from eventmw import lifetimes

if TYPE_CHECKING:
    from eventmw.testing.capture import Captured

FIXTURE: Final = "eventmw_events"

_capture: Final = pytest.StashKey["tuple[ExitStack, Captured]"]()


@pytest.fixture
def eventmw_events(request: pytest.FixtureRequest) -> Iterator[Captured]:
    """Capture what every site wrapped by eventmw does in this test: no network, no folder, a still clock."""
    held = request.node.stash.get(_capture, None)
    if held is not None:
        yield held[1]
        return
    from eventmw.testing.capture import captured  # noqa: PLC0415 - see above

    with captured() as events:  # it was asked for by name, in the middle of a test
        request.node.stash[_capture] = (ExitStack(), events)
        yield events


def pytest_load_initial_conftests() -> None:
    """Let sites that are made by imports open nothing before they are used."""
    lifetimes.sites_open_late = True


@pytest.hookimpl(hookwrapper=True)
def pytest_collection() -> Generator[None]:
    """Let sites open at once again, when all test modules are imported."""
    yield
    lifetimes.sites_open_late = False


def pytest_unconfigure() -> None:
    """Let sites open at once again, also after a run that collected nothing."""
    lifetimes.sites_open_late = False


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin the capture before any other fixture of the test: one of them may make the site, or send its first event."""
    if FIXTURE not in getattr(item, "fixturenames", ()):
        return
    from eventmw.testing.capture import captured  # noqa: PLC0415 - see above

    stack = ExitStack()
    item.stash[_capture] = (stack, stack.enter_context(captured()))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any]:
    """End the capture after every other fixture of the test, and raise what its tools and consumers raised."""
    outcome = yield
    held = item.stash.get(_capture, None)
    if held is None:
        return
    del item.stash[_capture]
    try:
        held[0].close()
    except BaseException as error:  # noqa: BLE001 - an old pluggy cannot bear a hook that raises
        if outcome.excinfo is None:
            outcome.force_exception(error)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any]:
    """Show what the sites did in a test that failed."""
    outcome = yield
    held = item.stash.get(_capture, None)
    if held is None or (report := outcome.get_result()).outcome != "failed":
        return
    report.sections.append((f"events ({FIXTURE})", held[1].report()))


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Show how two requests differ, without the secrets that pytest would print."""
    if op != "==":
        return None
    from eventmw.http import HttpRequest  # noqa: PLC0415 - see above

    if not isinstance(left, HttpRequest) or not isinstance(right, HttpRequest):
        return None
    from eventmw.testing.sent import compared  # noqa: PLC0415 - see above

    return compared(left, right)
