"""The door of the EventBunker API by itself; its answers through the gateways stand in the contract's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.errors import PROBLEMS, Refused
from eventmw.http import RequestHead
from eventmw.intake.keyed import KeyedDoor, Keys, NoKeys
from eventmw.keys import Key
from eventmw.testing import FixedKeys
from tests.eventbunker import ANN, HEADER, KEYS, OTHER, SHOP, WRITE
from tests.test_door import FIELDS, VALUES


class Host:
    def __init__(self, keys: Keys) -> None:
        self.keys = keys


def door(keys: Keys | None = None, **options: Any) -> KeyedDoor:
    given_options: dict[str, Any] = {
        "header": HEADER,
        "kinds": frozenset({"write"}),
        "trusted_proxies": 0,
        "max_body_bytes": 1000,
    }
    return KeyedDoor(Host(keys or FixedKeys(KEYS)), **given_options | options)


def head(headers: dict[str, str], method: str = "POST") -> RequestHead:
    return RequestHead(method, "/eb/post", headers, "203.0.113.9")


def refusal(step: Callable[[RequestHead], object], request: RequestHead) -> Refused | None:
    try:
        step(request)
    except Refused as refused:
        return refused
    return None


@given(
    st.dictionaries(st.sampled_from([*FIELDS, HEADER]), VALUES | st.sampled_from([*KEYS, SHOP, OTHER])),
    st.sampled_from(["POST", "GET", "HEAD", "OPTIONS", "", "é"]),
    st.integers(0, 2),
    st.booleans(),
)
def test_any_head_is_let_in_or_refused(headers: dict[str, str], method: str, proxies: int, gets: bool) -> None:
    gate, request = door(trusted_proxies=proxies, gets=(lambda _: "") if gets else None), head(headers, method)
    allowed = dict(gate.cors(request)).get("access-control-allow-origin")
    assert allowed == (headers.get("origin") if headers.get("origin") in {SHOP, OTHER} else None)
    if gate.is_preflight(request):
        assert (refusal(gate.preflight, request) is None) == (allowed is not None)
        return
    refused = refusal(gate.admit, request)
    if refused is not None:
        assert refused.status in {400, 401, 403, 405, 413, 415}
        assert refused.code in PROBLEMS
        assert all(value.isprintable() for _, value in refused.headers)
        return
    visit = gate.admit(request)
    if visit.key is None:
        assert gets
        assert method in {"GET", "HEAD"}
    else:
        assert visit.key == KEYS[headers[HEADER].strip()]
        assert visit.key.kind == "write"
        assert visit.credential == f"{visit.key.project_id}/{visit.key.id}"


@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_only_a_key_itself_opens(shown: str) -> None:
    with pytest.raises(Refused) as caught:
        door().admit(head({HEADER: shown}))
    assert (caught.value.code, caught.value.detail) == ("unauthorized", f"Invalid {HEADER}")


def test_keys_that_nobody_knows_now() -> None:
    """The request is told so, and its answer can be made: nothing is raised where an answer is not yet under way."""

    class Away:
        def find(self, shown: str) -> Key | None:
            raise Refused("journal_down", "no")

        def lists(self, origin: str) -> bool:
            raise Refused("journal_down", "no")

        def lookup(self, shown: str) -> None:
            pass

        def lookup_id(self, key_id: str) -> None:
            pass

        def lookup_origin(self, origin: str) -> None:
            pass

    gate = door(Away())
    assert gate.cors(head({"origin": SHOP})) == (("vary", "Origin"),)
    with pytest.raises(Refused, match="journal_down"):
        gate.admit(head({HEADER: WRITE}))


def test_no_keys_at_all() -> None:
    gate = door(NoKeys())
    with pytest.raises(Refused, match="unauthorized"):
        gate.admit(head({HEADER: ANN}))
    assert gate.cors(head({"origin": SHOP})) == (("vary", "Origin"),)


def test_a_refused_origin_is_told_whose_list_counts() -> None:
    """`allowed_origins` is the other API's: who reads only «an allowed origin» looks there in vain."""
    wrong = {"origin": "https://nowhere.example", HEADER: WRITE}
    posted, asked = refusal(door().admit, head(wrong)), refusal(door().preflight, head(wrong, "OPTIONS"))
    assert posted is not None
    assert asked is not None
    assert "an origin of the key itself" in posted.detail
    assert "an origin of any key" in asked.detail
    for refused in (posted, asked):
        assert "--origin" in refused.detail
        assert "allowed_origins has no say here" in refused.detail
