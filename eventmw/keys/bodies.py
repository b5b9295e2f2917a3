"""The management calls as JSON: what a body may hold, and how projects and keys are answered.

The command line gives its arguments the same shape, so both say the same of them.

Layer: pure rules. Source: PROTOCOLS.md 3.2 and the reference's `project/create`; all else in the same style is ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, Literal, cast

from eventmw import strictjson
from eventmw.errors import Fault, Refused
from eventmw.keys import Key, KeyKind
from eventmw.keys.grants import Grant, Issued, Listed, Project
from eventmw.query.language import filters_of
from eventmw.query.question import COLUMNS
from eventmw.schema import MAX_SHOWN, Authority, kind_of, pointer, published

CallName = Literal[
    "project-create", "project-list", "project-delete", "project-reset", "keys-create", "keys-list", "keys-revoke"
]

Json = dict[str, Any]

ACTIVE: Final = "ACTIVE"
DELETED: Final = "DELETED"
REVOKED: Final = "REVOKED"

_CUSTOMER: Final = "customer_identifier"
_NO_FIELDS: Final = frozenset({"project_id"})
"""Names that no event's field has, since senders may not set them, and which are no column of a question either."""

_MAX_DEPTH: Final = 4
"""Containers in each other; a body that is right has two."""


def read(call: CallName, body: bytes) -> Json:
    """Return the body of a call, decoded and checked. An empty one counts as ``{}``.

    Raises:
        Refused: 400, with everything that is wrong; 413, it is nested too deeply.
    """
    text = strictjson.without_bom(body).strip() or b"{}"
    strictjson.check_digits(text)
    given = strictjson.decode(text)
    if strictjson.deeper_than(given, _MAX_DEPTH):
        raise Refused("too_deep", f"Expected a body nested at most {_MAX_DEPTH} deep.")
    check(call, given)
    return cast(Json, given)


def check(call: CallName, given: object) -> None:
    """Look whether a decoded body is right.

    Raises:
        Refused: 400, with everything that is wrong.
    """
    # The authority goes through unknown keys in any order.
    faults = tuple(sorted(_authority(call).faults(given), key=lambda fault: fault.path))
    if not faults and call == "keys-create":
        faults = tuple(_blind(cast(Mapping[str, Any], given)))
    if faults:
        detail = "Expected another body." if strictjson.object_in(given) is not None else _no_object(given)
        raise Refused("invalid_body", detail, faults=faults[:MAX_SHOWN], omitted=max(0, len(faults) - MAX_SHOWN))


def _blind(given: Mapping[str, Any]) -> Iterator[Fault]:
    """Return a fault for each part of a key's filter that no event can meet: such a key sees nothing, in silence."""
    customer = given.get(_CUSTOMER)
    for name, value in given.get("key_filter_data", {}).items():
        at = pointer(("key_filter_data", name))
        try:
            (one,) = filters_of({name: value})
        except Refused as refused:
            message = refused.faults[0].message if refused.faults else "expected a field and its value"
            yield Fault(None, at, "", "never_met", message)
            continue
        path = one.field.path
        if path[0] in _NO_FIELDS or (len(path) > 1 and path[0] in COLUMNS):
            yield Fault(None, at, "", "never_met", "expected a field that an event can have, got another name")
        elif path == ("event_name",) and not _event_name().accepts(value):
            yield Fault(None, at, "", "never_met", "expected a name that an event can have, got other text")
        elif path == (_CUSTOMER,) and customer not in {None, value}:
            words = "expected the customer that the key is bound to, or none, got another one"
            yield Fault(None, at, "", "never_met", words)


def _no_object(given: object) -> str:
    return f"Expected a JSON object, got {kind_of(given)}."


@cache
def _event_name() -> Authority:
    return Authority(published("eventbunker-track"), ("properties", "event_name"))


@cache
def _authority(call: CallName) -> Authority:
    return Authority(published("eventbunker-manage"), ("$defs", call))


def check_own(given: Mapping[str, Any], name: str, own: str) -> None:
    """Look whether a body that names whose it is names the one that the key belongs to.

    Raises:
        Refused: 400, it names another.
    """
    if given.get(name, own) != own:
        what = name.removesuffix("_id")
        fault = Fault(None, f"/{name}", "", "const", f"expected the {what} that the key belongs to, got another text")
        raise Refused("invalid_body", f"Expected the {what} that the key belongs to.", faults=(fault,))


def grant_of(given: Mapping[str, Any]) -> Grant:
    """Return what the body of `keys-create` asks for."""
    return Grant(
        kind=cast(KeyKind, str(given["type"]).lower()),
        customer=given.get("customer_identifier"),
        key_filter=given.get("key_filter_data", {}),
        origins=given.get("origins", ()),
        name=given.get("name", ""),
    )


def of_project(project: Project) -> Json:
    """Return a project of a list: ``created_ms`` is UTC, in milliseconds since 1970."""
    return {
        "account_id": project.account_id,
        "project_id": project.id,
        "name": project.name,
        "description": project.description,
        "created_ms": project.created_ms,
        "status": ACTIVE,
    }


def of_master(issued: Issued) -> Json:
    """Return a new master key, with the secret: of a project, or of an account."""
    project = {"project_id": issued.key.project_id} if issued.key.project_id else {}
    return {
        "account_id": issued.key.account_id,
        **project,
        "master_api_key": issued.secret.reveal(),
        "status": ACTIVE,
    }


def of_deleted(project: Project, revoked: int) -> Json:
    """Return a project that is deleted, and how many keys went with it, the master key among them."""
    ids = {"account_id": project.account_id, "project_id": project.id}
    return {**ids, "revoked_keys": revoked, "status": DELETED}


def of_revoked(key: Key) -> Json:
    """Return a key that is revoked."""
    return {"project_id": key.project_id, "key_id": key.id, "status": REVOKED}


def of_issued(issued: Issued, name: str) -> Json:
    """Return a new key, with the secret."""
    return {**_of_key(issued.key, name), "api_key": issued.secret.reveal(), "status": ACTIVE}


def of_listed(listed: Listed) -> Json:
    """Return a key of a list. ``prefix`` is what its secret begins with."""
    return {
        **_of_key(listed.key, listed.name),
        "prefix": listed.prefix,
        "created_ms": listed.created_ms,
        "status": ACTIVE,
    }


def _of_key(key: Key, name: str) -> Json:
    return {
        "project_id": key.project_id,
        "key_id": key.id,
        "type": key.kind.upper(),
        "name": name,
        "customer_identifier": key.customer,
        "key_filter_data": dict(key.key_filter),
        "origins": list(key.origins),
    }
