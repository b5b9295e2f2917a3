"""What the tests of the EventBunker API share: keys, a pair of sites with them, and one request to either path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from eventmw.event import Event
from eventmw.keys import Key
from eventmw.testing import with_keys
from tests.gateways import Answer, Pair, Request, both

BASE = "/eb"
POST = "/eb/post"
HEADER = "x-eventbunker-write-key"
SHOP = "https://shop.example"
OTHER = "https://other.example"

WRITE, ANN, OF_A_PAGE, QUERY, DELETE, ELSEWHERE = (
    "eb_write_all", "eb_write_ann", "eb_write_page", "eb_query_all", "eb_delete_all", "eb_write_elsewhere",
)  # fmt: skip
KEYS = {
    WRITE: Key(id="k1", kind="write", account_id="a", project_id="p1"),
    ANN: Key(id="k2", kind="write", account_id="a", project_id="p1", customer="ann", origins=(SHOP,)),
    OF_A_PAGE: Key(id="k3", kind="write", account_id="a", project_id="p1", origins=(OTHER,)),
    QUERY: Key(id="k4", kind="query", account_id="a", project_id="p1"),
    DELETE: Key(id="k5", kind="delete", account_id="a", project_id="p1"),
    ELSEWHERE: Key(id="k6", kind="write", account_id="a", project_id="p2"),
}

# Source: the seed eventbunker-track-event, «Example Request», as it stands there but for the brace that ends it.
SEED = b"""{
"event_name": "my_first_event_name",
"timestamp": "2021-06-26T14:48:00.000",
"customer_identifier": "your_app_customer_id",
"example_string_field": "",
"example_number_field": 123,
"example_array_field": ["cat", "dog"]
"example_bool_field": true
}"""
REPAIRED = SEED.replace(b'"dog"]\n', b'"dog"],\n')


def tracking(**options: Any) -> Pair:
    """Wrap an ASGI site and a WSGI site that answer the EventBunker API, with the same keys."""
    pair = both(**{"eventbunker_path": BASE, **options})
    for site in pair.sites:
        with_keys(site, KEYS)
    return pair


def track(
    pair: Pair, body: Any, headers: Mapping[str, str] | None = None, *, key: str | None = WRITE, **request: Any
) -> Answer:
    """Send bytes as they are, or anything else as JSON."""
    shown = {} if key is None else {HEADER: key}
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return pair.send(Request(path=POST, body=sent, headers=tuple({**shown, **(headers or {})}.items()), **request))


def kept(pair: Pair) -> list[Event]:
    """Return the events that the journals hold, which are the same behind both gateways."""
    both_of_them = []
    for site in pair.sites:
        entries = site.runtime.journal.scan()
        both_of_them.append([event for entry in entries for event in site.runtime.engine.events(entry.record)])
    assert both_of_them[0] == both_of_them[1]
    assert all(isinstance(event, Event) for event in both_of_them[0])
    return both_of_them[0]  # type: ignore[return-value]  # as was just looked at


def refusal(answer: Answer, status: int, error: str, *codes: str) -> list[dict[str, Any]]:
    """Check everything that all errors have in common, and return the details."""
    assert answer.status == status, answer.body
    assert list(answer.json) == ["error", "details"]
    assert answer.json["error"] == error
    details: list[dict[str, Any]] = answer.json["details"]
    assert all(list(detail) == ["path", "code", "message"] for detail in details)
    assert [detail["code"] for detail in details] == list(codes)
    assert answer.header("content-type") == "application/json"
    assert answer.header("content-length") == str(len(answer.body))
    assert answer.header("cache-control") == "no-store"
    return details
