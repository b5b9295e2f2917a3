"""The management calls, on both databases. Source: PROTOCOLS.md 3.2; eventbunker.md A.1 and A.5."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, insert, make_url

from eventmw.archive.database import engine_of
from eventmw.errors import Refused
from eventmw.eventbunker import Call
from eventmw.eventbunker.manage import manage_calls
from eventmw.keys import Key
from eventmw.keys.ring import KeyRing
from eventmw.keys.store import MAX_PROJECTS, KeyStore
from eventmw.keys.tables import projects
from tests.databases import address, engine
from tests.postgres import Postgres

__all__ = ["address", "engine"]  # fixtures


class Api:
    """The calls as a gateway drives them: the key is found by its secret, and has to be of the right kind."""

    def __init__(self, engine: Engine) -> None:
        self.store = KeyStore(engine)
        self.ring = KeyRing(engine, 3600)
        self.calls: dict[str, Call] = {call.path: call for call in manage_calls(lambda: self.store, self.ring.look)}
        self.account = self.store.account()
        self.master = self.store.reset_account(self.account).secret.reveal()
        self.ring.start()

    def key(self, shown: str) -> Key:
        found = self.ring.find(shown)
        assert found is not None
        return found

    def ask(self, shown: str, path: str, **body: Any) -> Any:
        call, key = self.calls[f"/v1/manage/{path}"], self.key(shown)
        assert key.kind in call.kinds
        reply = call.answer(key, json.dumps(body).encode())
        assert reply.status == 200
        assert dict(reply.headers)["content-length"] == str(len(reply.body))
        assert dict(reply.headers)["content-type"] == "application/json"
        assert dict(reply.headers)["cache-control"] == "no-store"
        return json.loads(reply.body)

    def refusal(self, shown: str, path: str, **body: Any) -> Refused:
        with pytest.raises(Refused) as raised:
            self.ask(shown, path, **body)
        return raised.value

    def project(self, name: str = "shop") -> Any:
        return self.ask(self.master, "project/create", account_id=self.account, name=name)


@pytest.fixture
def api(engine: Engine) -> Iterator[Api]:
    api = Api(engine)
    yield api
    api.ring.close()


def test_which_calls_there_are_and_what_opens_them(api: Api) -> None:
    assert {path: set(call.kinds) for path, call in api.calls.items()} == {
        **{f"/v1/manage/project/{name}": {"account"} for name in ("create", "list", "delete", "reset")},
        **{f"/v1/manage/keys/{name}": {"project"} for name in ("create", "list", "revoke")},
    }
    assert {call.header for call in api.calls.values()} == {"x-eventbunker-apikey"}


def test_a_project_is_made_with_its_master_key(api: Api) -> None:
    """The answer has the reference's four keys, and `status` is "ACTIVE"."""
    made = api.ask(api.master, "project/create", account_id=api.account, name="shop", description="of shoes")
    assert [*made] == ["account_id", "project_id", "master_api_key", "status"]
    assert (made["account_id"], made["status"]) == (api.account, "ACTIVE")
    assert api.key(made["master_api_key"]).project_id == made["project_id"], "it works at once"
    (listed,) = api.ask(api.master, "project/list")["projects"]
    assert {key: listed[key] for key in ("project_id", "name", "description", "status")} == {
        "project_id": made["project_id"],
        "name": "shop",
        "description": "of shoes",
        "status": "ACTIVE",
    }


def test_keys_are_made_listed_and_revoked(api: Api) -> None:
    master = api.project()["master_api_key"]
    made = api.ask(
        master,
        "keys/create",
        type="QUERY",
        name="page",
        customer_identifier="ann",
        key_filter_data={"country": "DE", "n": 1, "ok": True},
        origins=["https://shop.example"],
    )
    found = api.key(made["api_key"])
    assert (found.kind, found.customer, found.origins) == ("query", "ann", ("https://shop.example",))
    assert found.key_filter == {"country": "DE", "n": 1, "ok": True}
    (listed,) = api.ask(master, "keys/list")["keys"]
    assert "api_key" not in listed
    assert made["api_key"].startswith(listed["prefix"])
    for key in ("key_id", "project_id", "type", "name", "customer_identifier", "key_filter_data", "origins", "status"):
        assert listed[key] == made[key]
    revoked = api.ask(master, "keys/revoke", key_id=made["key_id"])
    assert revoked == {"project_id": made["project_id"], "key_id": made["key_id"], "status": "REVOKED"}
    assert api.ring.find(made["api_key"]) is None, "at once in this process"
    assert api.ask(master, "keys/list")["keys"] == []
    assert api.refusal(master, "keys/revoke", key_id=made["key_id"]).status == 404


@pytest.mark.parametrize("kind", ["WRITE", "QUERY", "DELETE"])
def test_each_type_of_key(kind: str, api: Api) -> None:
    made = api.ask(api.project()["master_api_key"], "keys/create", type=kind)
    assert (made["type"], api.key(made["api_key"]).kind) == (kind, kind.lower())
    assert (made["customer_identifier"], made["key_filter_data"], made["origins"]) == (None, {}, [])


def test_a_deleted_project_takes_its_keys_along_at_once(api: Api) -> None:
    made = api.project()
    key = api.ask(made["master_api_key"], "keys/create", type="WRITE")
    gone = api.ask(api.master, "project/delete", project_id=made["project_id"])
    assert gone == {
        "account_id": api.account,
        "project_id": made["project_id"],
        "revoked_keys": 2,
        "status": "DELETED",
    }
    assert api.ring.find(made["master_api_key"]) is api.ring.find(key["api_key"]) is None
    assert api.ask(api.master, "project/list")["projects"] == []
    assert api.refusal(api.master, "project/delete", project_id=made["project_id"]).code == "unknown_id"


def test_a_reset_master_key(api: Api) -> None:
    made = api.project()
    key = api.ask(made["master_api_key"], "keys/create", type="WRITE")
    new = api.ask(api.master, "project/reset", project_id=made["project_id"])
    assert [*new] == ["account_id", "project_id", "master_api_key", "status"]
    assert api.ring.find(made["master_api_key"]) is None
    assert api.ask(new["master_api_key"], "keys/list")["keys"][0]["key_id"] == key["key_id"]


def test_an_account_neither_sees_nor_touches_anothers_projects(api: Api) -> None:
    ours = api.project()
    other = api.store.create_account()
    stranger = api.store.reset_account(other).secret.reveal()
    api.ring.look()
    assert api.ask(stranger, "project/list")["projects"] == []
    unknown = api.refusal(stranger, "project/delete", project_id="prj_nothing")
    for path in ("project/delete", "project/reset"):
        refused = api.refusal(stranger, path, project_id=ours["project_id"])
        assert (refused.status, refused.detail) == (404, unknown.detail), "as if there were none"
    refused = api.refusal(stranger, "project/create", account_id=api.account, name="x")
    assert (refused.status, refused.faults[0].path) == (400, "/account_id")
    assert len(api.ask(api.master, "project/list")["projects"]) == 1
    assert api.key(ours["master_api_key"]).project_id == ours["project_id"]


def test_a_project_neither_sees_nor_revokes_anothers_keys(api: Api) -> None:
    ours, theirs = api.project(), api.project("till")
    key = api.ask(ours["master_api_key"], "keys/create", type="WRITE")
    assert api.ask(theirs["master_api_key"], "keys/list")["keys"] == []
    assert api.refusal(theirs["master_api_key"], "keys/revoke", key_id=key["key_id"]).code == "unknown_id"
    refused = api.refusal(theirs["master_api_key"], "keys/list", project_id=ours["project_id"])
    assert refused.faults[0].path == "/project_id"
    assert api.key(key["api_key"]).id == key["key_id"]


def test_the_hundred_and_first_project_is_refused(api: Api, engine: Engine) -> None:
    row = {"account_id": api.account, "name": "", "description": "", "created_ms": 0, "made": 0}
    with engine.begin() as connection:
        connection.execute(insert(projects), [{"id": f"prj_{n}", **row} for n in range(MAX_PROJECTS)])
    refused = api.refusal(api.master, "project/create", account_id=api.account, name="x")
    assert (refused.status, refused.code) == (409, "too_many_projects")
    assert refused.detail == "An account has at most 100 projects; delete one that is not needed."


def test_a_wrong_body_changes_nothing(api: Api) -> None:
    master = api.project()["master_api_key"]
    refused = api.refusal(master, "keys/create", type="WRITE", customer="ann")
    assert (refused.status, refused.code, refused.faults[0].path) == (400, "invalid_body", "/customer")
    assert api.ask(master, "keys/list")["keys"] == []


def test_while_the_database_is_away_nothing_is_changed_and_nothing_is_told(
    postgres_server: Postgres, postgres: str
) -> None:
    engine = engine_of(postgres)
    api = Api(engine)
    api.key(api.master)
    with postgres_server.away(str(make_url(postgres).database)):
        refused = api.refusal(api.master, "project/list")
    assert (refused.status, refused.code) == (503, "keys_down")
    assert ("retry-after", "5") in refused.headers
    assert "127.0.0.1" not in str(refused)
    api.ring.close()
    engine.dispose()
