"""The EventBunker dialect end to end, PROTOCOLS.md 3.1 to 3.3: both gateways behind real servers, with a real archive."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from eventmw.archive.ledger import MAX_NAMES
from eventmw.protocols.eventbunker import judge
from tests.contract_fuzz import SERVERS, Keys, site
from tests.running import until
from tests.servers import Answer, Server
from tests.sites.api import EVENTBUNKER

ARCHIVED_S = 10.0
BATCH = 1_000


class Client(NamedTuple):
    """A sender of one site."""

    server: Server
    keys: Keys

    def ask(self, path: str, key: str, header: str, body: Any) -> Answer:
        sent = json.dumps(body).encode()
        return self.server.ask("POST", EVENTBUNKER + path, sent, **{header: key})

    def manage(self, path: str, key: str, status: int = 200, **body: Any) -> Any:
        answer = self.ask(f"/v1/manage/{path}", key, "x-eventbunker-apikey", body)
        assert answer.status == status, answer.body
        return json.loads(answer.body)

    def track(self, key: str, body: Any) -> tuple[int, Any]:
        answer = self.ask("/post", key, "x-eventbunker-write-key", body)
        return answer.status, json.loads(answer.body)

    def query(self, key: str, **body: Any) -> tuple[int, Any]:
        answer = self.ask("/v1/query/json", key, "x-eventbunker-query-key", {"time_period": "minus_5_minutes", **body})
        return answer.status, json.loads(answer.body)

    def names(self, key: str) -> list[str]:
        """Return the names of the events that a query key sees, in order of the alphabet."""
        status, answer = self.query(key)
        assert status == 200, answer
        return sorted(row["event_name"] for row in answer["rows"])

    def sees(self, key: str, names: list[str]) -> bool:
        return self.names(key) == names

    def project(self) -> Project:
        account = self.keys.shown["account-key"]
        made = self.manage("project/create", account, account_id=self.keys.account_id, name="shop")
        return Project(self, made["project_id"], made["master_api_key"])


class Project(NamedTuple):
    client: Client
    id: str
    master: str

    def key(self, kind: str, **more: Any) -> Any:
        return self.client.manage("keys/create", self.master, type=kind, **more)


@pytest.fixture(scope="module", params=SERVERS)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder: Path = tmp_path_factory.mktemp("served")
    with site(request.param, folder) as (server, keys):
        yield Client(server, keys)


def test_from_a_project_to_a_revoked_key(client: Client) -> None:
    """3.2 and 3.3: create project, create keys, track, ask, revoke; each step by HTTP."""
    project = client.project()
    write, query = project.key("WRITE"), project.key("QUERY")
    status, taken = client.track(write["api_key"], {"event_name": "bought", "price": 5})
    assert status == 200
    assert re.fullmatch("[0-9a-f]{32}", taken["unique_req_id"])
    since_s = time.monotonic()
    until(lambda: client.names(query["api_key"]) == ["bought"])
    assert time.monotonic() - since_s < ARCHIVED_S, "3.3: within 10 s of its 200"
    _, table = client.query(query["api_key"], computations=[{"function": "sum", "field_name": "price"}])
    assert table["rows"] == [{"sum_price": 5}]
    listed = client.manage("keys/list", project.master)["keys"]
    assert {key["key_id"] for key in listed} == {write["key_id"], query["key_id"]}
    for key in (write, query):
        assert client.manage("keys/revoke", project.master, key_id=key["key_id"])["status"] == "REVOKED"
    assert client.track(write["api_key"], {"event_name": "late"})[0] == 401
    status, refused = client.query(query["api_key"])
    assert (status, refused["error"]) == (401, "Invalid x-eventbunker-query-key")
    account = client.keys.shown["account-key"]
    assert client.manage("project/delete", account, project_id=project.id)["revoked_keys"] == 1
    client.manage("keys/list", project.master, 401)


def test_a_reset_project_and_keys_of_another_kind(client: Client) -> None:
    """3.2; 3.1: the same two 401 texts with their own header's name."""
    project, account = client.project(), client.keys.shown["account-key"]
    new = client.manage("project/reset", account, project_id=project.id)["master_api_key"]
    client.manage("keys/list", project.master, 401)
    assert client.manage("keys/list", new)["keys"] == []
    refused = client.manage("keys/list", account, 401)
    assert refused["error"] == "Please use a project key for project requests. Invalid x-eventbunker-apikey"
    listed = client.manage("project/list", account)["projects"]
    assert project.id in {one["project_id"] for one in listed}
    write = client.manage("keys/create", new, type="WRITE")["api_key"]
    status, wrong = client.query(write)
    assert (status, wrong["error"]) == (
        401,
        "Please use a query key for query requests. Invalid x-eventbunker-query-key",
    )


def test_a_limit_with_a_point(client: Client) -> None:
    """It was answered by a 500 once."""
    assert client.query(client.keys.shown["query-key"], limit=5.0)[0] == 200


def test_a_project_is_a_hard_wall(client: Client) -> None:
    """3.2: neither a question nor a management call reaches another's."""
    ours, theirs = client.project(), client.project()
    for project, name in ((ours, "ours"), (theirs, "theirs")):
        client.track(project.key("WRITE")["api_key"], {"event_name": name})
    for project, name in ((ours, "ours"), (theirs, "theirs")):
        query = project.key("QUERY")["api_key"]
        until(partial(client.sees, query, [name]))
    key = ours.key("WRITE")
    client.manage("keys/revoke", theirs.master, 404, key_id=key["key_id"])
    assert client.track(key["api_key"], {"event_name": "ours"})[0] == 200


def test_bound_keys(client: Client) -> None:
    """3.2: writes get the customer filled in, a different one is refused, reads are filtered; `key_filter_data`."""
    project = client.project()
    anns, everybodys = project.key("WRITE", customer_identifier="ann"), project.key("WRITE")
    assert client.track(anns["api_key"], {"event_name": "a", "country": "DE"})[0] == 200
    status, refused = client.track(anns["api_key"], {"event_name": "b", "customer_identifier": "bob"})
    assert (status, refused["details"][0]["code"]) == (400, "other_customer")
    client.track(everybodys["api_key"], [{"event_name": "c"}, {"event_name": "d", "country": "FR"}])
    whole = project.key("QUERY")["api_key"]
    until(lambda: client.names(whole) == ["a", "c", "d"])
    assert client.names(project.key("QUERY", customer_identifier="ann")["api_key"]) == ["a"]
    assert client.names(project.key("QUERY", key_filter_data={"country": "FR"})["api_key"]) == ["d"]


def test_the_two_thousand_and_first_name(client: Client) -> None:
    """3.1: at most 2,000 distinct names for each project; then new names are refused with 400, as soon as workers know."""
    assert MAX_NAMES == judge.MAX_NAMES == 2_000
    project = client.project()
    write = project.key("WRITE")["api_key"]
    for first in range(0, MAX_NAMES, BATCH):
        status, _ = client.track(write, [{"event_name": f"n{n}"} for n in range(first, first + BATCH)])
        assert status == 200

    query = project.key("QUERY")["api_key"]
    counted = [{"function": "count_distinct", "field_name": "event_name", "as": "n"}]
    until(lambda: client.query(query, computations=counted)[1]["rows"] == [{"n": MAX_NAMES}])

    def refused() -> Any:
        # A name that is taken while this process does not know yet is one too many for the archive, and harms nothing.
        status, answer = client.track(write, {"event_name": "one-more"})
        return answer if status == 400 else None

    answer = until(refused)
    assert answer["error"] == "Body JSON validation failed."
    assert [(one["path"], one["code"]) for one in answer["details"]] == [("/event_name", "too_many_names")]
    assert client.track(write, {"event_name": "n0"})[0] == 200, "a known one is taken"
    assert client.track(client.project().key("WRITE")["api_key"], {"event_name": "one-more"})[0] == 200, "the others'"


def test_a_page_with_a_chart_by_a_key_and_by_a_link(client: Client) -> None:
    """3.3: `/iframe` a self-contained page; by GET a signed link, framed as settings allow, no referrer, not logged."""
    key, token = client.keys.shown["query-key"], client.keys.token
    posted = client.ask("/v1/query/iframe", key, "x-eventbunker-query-key", {"time_period": "today"})
    got = client.server.ask("GET", f"{EVENTBUNKER}/v1/query/iframe?token={token}")
    for answer in (posted, got):
        assert (answer.status, answer.get("content-type")) == (200, "text/html; charset=utf-8")
        assert answer.get("referrer-policy") == "no-referrer"
        assert "frame-ancestors 'self'" in (answer.get("content-security-policy") or "")
    assert client.server.ask("GET", f"{EVENTBUNKER}/v1/query/iframe?token={token[:-1]}").status == 400
    assert client.server.ask("GET", f"{EVENTBUNKER}/v1/query/iframe").status == 400


@pytest.mark.parametrize(
    ("path", "key", "body", "where"),
    [
        ("/v1/query/json", "query-key", {"limit": 0}, "/limit"),
        ("/v1/query/iframe", "query-key", {"group_by": 5}, "/group_by"),
        ("/v1/manage/keys/create", "project-key", {"type": "ADMIN"}, "/type"),
        ("/v1/manage/project/create", "account-key", {"name": ""}, "/name"),
    ],
)
def test_errors_of_calls_have_one_shape(client: Client, path: str, key: str, body: Any, where: str) -> None:
    """3.1: `{"error", "details": [{"path", "code", "message"}]}`, with their own header's name in a 401."""
    header = "x-eventbunker-query-key" if key == "query-key" else "x-eventbunker-apikey"
    answer = client.ask(path, client.keys.shown[key], header, body)
    assert answer.status == 400
    refused = json.loads(answer.body)
    assert list(refused) == ["error", "details"]
    assert where in [detail["path"] for detail in refused["details"]]
    assert all(list(detail) == ["path", "code", "message"] for detail in refused["details"])
    unknown = client.ask(path, "eb_nothing", header, body)
    assert (unknown.status, json.loads(unknown.body)["error"]) == (401, f"Invalid {header}")
    assert client.server.ask("PUT", EVENTBUNKER + path, b"").status == 405
