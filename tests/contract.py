"""What the tests of the contract share: payloads, an event as tools get it, and what all problems have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

from eventmw import tool
from eventmw.errors import PROBLEMS
from eventmw.event import Event
from eventmw.schema import published
from eventmw.testing import deliver
from tests.gateways import Answer, both

REPLY = Draft202012Validator(published("zaraz-reply"))
EMPTY: dict[str, Any] = {"fetch": [], "execute": [], "return": {}, "cookies": {}}
GOOD = {"client": {"__zarazTrack": "x"}}
ONE = {"events": [GOOD]}
MIXED = {"events": [GOOD, {"client": 1}, GOOD]}
OTHER = "https://other.example"
LISTED = "https://shop.example"

SEED_FIRST = b"""
{
  "events": [
    {
      "client": {
        "__zarazTrack": "transaction successful",
        "value": "200"
      }
    }
  ]
}
"""
SEED_SECOND = b"""
{
  "events": [
    {
      "client": {
        "__zarazTrack": "transaction successful",
        "value": "200"
      },
      "system": {
        "page": {
          "url": "https://example.com",
          "title": "My website"
        },
        "device": {
          "language": "en-US",
          "ip": "192.168.0.1"
        }
      }
    }
  ]
}
"""


def keeper(kept: list[Event]) -> Any:
    """Return a tool that keeps the events it gets at the door."""

    @tool("keeper", answers=True)
    def keep(event: Event) -> None:
        kept.append(event)

    return keep


def accepted_event(body: Any, headers: Mapping[str, str] | None = None, **options: Any) -> Event:
    """Return the one event that tools get of an accepted payload, the same through both gateways."""
    kept: list[Event] = []
    with both(tools=[keeper(kept)], **options) as pair:
        answer = pair.post(body, headers or {})
        assert answer.status == 200, answer.body
        for site in pair.sites:
            deliver(site)  # the courier makes the same event of the record
    assert len(kept) == 4
    assert all(event == kept[0] for event in kept)
    return kept[0]


def refused(answer: Answer, code: str) -> dict[str, Any]:
    """Check everything that all problems have in common, and return the document."""
    status, title = PROBLEMS[code]
    problem: dict[str, Any] = answer.json
    assert (answer.status, problem["status"], problem["code"], problem["title"]) == (status, status, code, title)
    assert problem["type"] == f"urn:eventmw:problem:{code}"
    assert problem["detail"]
    assert answer.header("content-type") == "application/problem+json"
    assert answer.header("content-length") == str(len(answer.body))
    assert answer.header("cache-control") == "no-store"
    assert len(answer.body) < 32 * 1024
    assert len(problem.get("errors", [])) <= 100
    return problem
