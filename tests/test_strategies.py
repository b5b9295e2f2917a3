"""`eventmw.testing.strategies` says valid of what a site accepts, and broken of what it refuses, at the place that it names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from werkzeug.test import Client, TestResponse

from eventmw import EventsMiddleware
from eventmw.testing import Captured, captured
from eventmw.testing.strategies import (
    Broken,
    broken_tracks,
    broken_zaraz_events,
    broken_zaraz_payloads,
    tracks,
    zaraz_events,
    zaraz_payloads,
)

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


class Site:
    """A strict site: what only earns a warning is refused."""

    def __init__(self, events: Captured) -> None:
        self.events = events
        app = EventsMiddleware(lambda _environ, _start: [], path="/z", eventbunker_path="/eb", strict=True)
        self._client = Client(app)
        self._key = {"x-eventbunker-write-key": events.key()}

    def post(self, path: str, document: Any) -> TestResponse:
        self.events.clear()
        return self._client.post(path, data=json.dumps(document), headers=self._key)

    def zaraz(self, document: Any) -> TestResponse:
        return self.post("/z", document)

    def track(self, document: Any) -> TestResponse:
        return self.post("/eb/post", document)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with captured() as events:
        yield Site(events)


@given(zaraz_payloads())
def test_valid_payloads_are_accepted_without_a_warning(site: Site, payload: dict[str, Any]) -> None:
    answer = site.zaraz(payload)
    assert answer.status_code == 200, answer.json
    assert answer.json is not None
    assert answer.json["receipt"]["rejected"] == 0
    assert len(site.events.sent()) == len(payload["events"])


@given(zaraz_events())
def test_valid_events_are_accepted(site: Site, event: dict[str, Any]) -> None:
    assert site.zaraz({"events": [event]}).status_code == 200


@given(tracks())
def test_valid_tracks_are_accepted(site: Site, event: dict[str, Any]) -> None:
    answer = site.track(event)
    assert answer.status_code == 200, answer.json
    assert site.events.sent()[0].name == event["event_name"]


def refused_at(site: Site, broken: Broken, path: str) -> None:
    """Check that the place is among those that the site names, or holds one of them."""
    paths = {fault.path for one in site.events.refused for fault in one.faults}
    assert any(f"{found}/".startswith(f"{path}/") for found in paths) or any(
        f"{path}/".startswith(f"{found}/") for found in paths
    ), (broken, paths)


@given(broken_zaraz_events())
def test_broken_events_are_refused_where_it_says(site: Site, broken: Broken) -> None:
    assert site.zaraz({"events": [broken.payload]}).status_code == 400
    refused_at(site, broken, f"/events/0{broken.path}")


@given(broken_zaraz_payloads())
def test_broken_payloads_are_refused_where_it_says(site: Site, broken: Broken) -> None:
    answer = site.zaraz(broken.payload)
    assert answer.status_code == 400 or answer.headers["eventmw-rejected"] == "1"
    refused_at(site, broken, broken.path)


@given(broken_tracks())
def test_broken_tracks_are_refused_where_it_says(site: Site, broken: Broken) -> None:
    assert site.track(broken.payload).status_code == 400
    refused_at(site, broken, broken.path)
