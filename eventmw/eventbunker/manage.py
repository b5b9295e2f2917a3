"""The management calls: projects with an account's master key, keys with a project's.

Layer: input and output. Source: PROTOCOLS.md 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from eventmw.errors import Refused
from eventmw.eventbunker import Call
from eventmw.eventbunker.answers import json_reply
from eventmw.http import Reply
from eventmw.keys import Key, KeyKind
from eventmw.keys import bodies as as_json
from eventmw.keys.bodies import CallName, Json
from eventmw.keys.grants import Project
from eventmw.keys.schema import KeysAway
from eventmw.keys.store import KeyStore, TooManyProjects, UnknownId
from eventmw.openapi.operation import CALL_CODES, Content, KeyIn, Operation, SchemaRef

HEADER: Final = "x-eventbunker-apikey"
PREFIX: Final = "/v1/manage"

_Act = Callable[[KeyStore, Key, Json], Json]


def manage_calls(store: Callable[[], KeyStore], changed: Callable[[], object]) -> Sequence[Call]:
    """Return the calls.

    Args:
        store: asked at each call, so that a site starts while the database of its keys is away.
        changed: called when something was changed, before it is answered: `KeyRing.look`, so that a new key works at once in
            the process that made it.
    """
    return [
        ManageCall(name, frozenset[KeyKind]({kind}), act, store, changed)
        for kind, acts in _ACTS.items()
        for name, act in acts.items()
    ]


class ManageCall:
    """One of the calls: its body is checked, and what goes wrong becomes an answer. See `eventmw.eventbunker.Call`."""

    def __init__(
        self,
        name: CallName,
        kinds: frozenset[KeyKind],
        act: _Act,
        store: Callable[[], KeyStore],
        changed: Callable[[], object],
    ) -> None:
        self.path = _path(name)
        self.header = HEADER
        self.kinds = kinds
        self._name: CallName = name
        self._act = act
        self._store = store
        self._changed = changed

    def answer(self, key: Key, body: bytes) -> Reply:
        """Do what is asked.

        Raises:
            Refused: 400 of a wrong body, 404 of an unknown id, 409 of too many projects, 413 of a body nested too deeply,
                503 while the database does not answer.
        """
        given = as_json.read(self._name, body)
        try:
            answer = self._act(self._store(), key, given)
        except UnknownId as error:
            raise Refused("unknown_id", _sentence(error)) from None
        except TooManyProjects as error:
            raise Refused("too_many_projects", _sentence(error)) from None
        except KeysAway:  # its words name the database
            retry = (("retry-after", "5"),)
            raise Refused("keys_down", "The keys cannot be changed now; try again.", headers=retry) from None
        if not self._name.endswith("-list"):
            self._changed()
        return json_reply(answer)


def _create_project(store: KeyStore, key: Key, given: Json) -> Json:
    as_json.check_own(given, "account_id", key.account_id)
    _, master = store.create_project(key.account_id, given["name"], given.get("description", ""))
    return as_json.of_master(master)


def _list_projects(store: KeyStore, key: Key, given: Json) -> Json:
    as_json.check_own(given, "account_id", key.account_id)
    return {
        "account_id": key.account_id,
        "projects": [as_json.of_project(project) for project in store.projects(key.account_id)],
    }


def _delete_project(store: KeyStore, key: Key, given: Json) -> Json:
    project = _own_project(store, key, given)
    return as_json.of_deleted(project, store.delete_project(project.id))


def _reset_project(store: KeyStore, key: Key, given: Json) -> Json:
    return as_json.of_master(store.reset_project(_own_project(store, key, given).id))


def _create_key(store: KeyStore, key: Key, given: Json) -> Json:
    grant = as_json.grant_of(given)
    return as_json.of_issued(store.create_key(key.project_id, grant), grant.name)


def _list_keys(store: KeyStore, key: Key, given: Json) -> Json:
    as_json.check_own(given, "project_id", key.project_id)
    return {"project_id": key.project_id, "keys": [as_json.of_listed(one) for one in store.keys(key.project_id)]}


def _revoke_key(store: KeyStore, key: Key, given: Json) -> Json:
    return as_json.of_revoked(store.revoke(key.project_id, given["key_id"]))


_ACTS: Final[Mapping[KeyKind, Mapping[CallName, _Act]]] = {
    "account": {
        "project-create": _create_project,
        "project-list": _list_projects,
        "project-delete": _delete_project,
        "project-reset": _reset_project,
    },
    "project": {"keys-create": _create_key, "keys-list": _list_keys, "keys-revoke": _revoke_key},
}


_SUMMARIES: Final[Mapping[CallName, str]] = {
    "project-create": "Make a project, with its master key.",
    "project-list": "List the projects of the account.",
    "project-delete": "Delete a project, with all its keys.",
    "project-reset": "Replace the master key of a project.",
    "keys-create": "Make a key of the project.",
    "keys-list": "List the keys of the project.",
    "keys-revoke": "Revoke a key of the project.",
}
_EXAMPLES: Final[Mapping[CallName, Json]] = {
    "project-create": {"account_id": "acc_1", "name": "shop", "description": "The web shop"},
    "project-delete": {"project_id": "prj_1"},
    "project-reset": {"project_id": "prj_1"},
    "keys-create": {"type": "WRITE", "name": "checkout", "origins": ["https://shop.example"]},
    "keys-revoke": {"key_id": "k1"},
}

_NONE: Final[frozenset[str]] = frozenset()
_UNKNOWN: Final = frozenset({"unknown_id"})
_MORE_CODES: Final[Mapping[CallName, frozenset[str]]] = {
    "project-create": frozenset({"too_many_projects"}),
    "project-delete": _UNKNOWN,
    "project-reset": _UNKNOWN,
    "keys-revoke": _UNKNOWN,
}


def _path(name: CallName) -> str:
    return f"{PREFIX}/{name.replace('-', '/')}"


def _operation(name: CallName, kind: KeyKind) -> Operation:
    lists = name.endswith("-list")
    return Operation(
        id=name.replace("-", "_"),
        path=_path(name),
        tag="manage",
        summary=_SUMMARIES[name],
        keys=(KeyIn(HEADER, kind),),
        body=Content((SchemaRef("eventbunker-manage", name),)),
        needs_body=not lists,
        examples={"one": _EXAMPLES.get(name, {})},
        answer=Content((SchemaRef("eventbunker-answer", name),)),
        codes=CALL_CODES | {"invalid_body"} | _MORE_CODES.get(name, _NONE),
    )


OPERATIONS: Final[Sequence[Operation]] = tuple(_operation(name, kind) for kind, acts in _ACTS.items() for name in acts)


def _own_project(store: KeyStore, key: Key, given: Json) -> Project:
    """Return the project that a body names.

    Raises:
        UnknownId: the account has none with this id, whoever else has.
    """
    as_json.check_own(given, "account_id", key.account_id)
    project = store.project(given["project_id"])
    if project.account_id != key.account_id:
        raise UnknownId("there is no project with this id")
    return project


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
