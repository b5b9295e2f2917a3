"""Which requests are ours. Source: PROTOCOLS.md 1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient

from eventmw import asgi, wsgi
from eventmw.intake.paths import FirstLook, public_path, tails
from tests.calls import Answer, ask_asgi, ask_wsgi

OURS = "/zaraz/api"
segments = st.lists(st.text("az~.-", max_size=3), min_size=1, max_size=4)

paths = segments.map(lambda found: "/" + "/".join(found))
shown = paths | st.just("")


def is_ours(ours: str | None, prefix: str, path: str) -> bool:
    """Return what the gateways do."""
    return public_path(prefix, path) == ours


@given(paths, st.data())
def test_a_mounted_site_is_found_by_its_tail(ours: str, data: st.DataObject) -> None:
    prefix, path = data.draw(st.sampled_from([(ours[: len(ours) - len(tail)], tail) for tail in tails(ours)]))
    assume(
        not (prefix and (path + "/").startswith(prefix.rstrip("/") + "/"))
    )  # else it reads as a path with its prefix
    assert is_ours(ours, prefix, path)


@given(paths, st.data())
def test_a_server_that_shows_the_whole_path(ours: str, data: st.DataObject) -> None:
    ends = [place for place, char in enumerate(ours) if char == "/"]
    prefix = ours[: data.draw(st.sampled_from(ends))]
    assert is_ours(ours, prefix, ours)
    assert ours in tails(ours)


@given(paths, shown, shown)
def test_what_is_ours_is_among_the_tails(ours: str, prefix: str, path: str) -> None:
    """The gateways look there first, so nothing of ours may be outside."""
    if is_ours(ours, prefix, path):
        assert path in tails(ours)


@given(paths, shown, shown)
def test_only_one_path_is_ours(ours: str, prefix: str, path: str) -> None:
    if is_ours(ours, prefix, path):
        assert ours in {path, prefix + path}


@given(shown, shown)
def test_nothing_is_ours_without_a_path(prefix: str, path: str) -> None:
    assert not tails(None)
    assert not is_ours(None, prefix, path)


async def _asgi_site(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"the site's"})


def _wsgi_site(_environ: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [])
    return [b"the site's"]


THE_SITES = 404
ANSWERED = 405  # ours answers a GET so


def through_asgi(prefix: str, path: str, ours: str | None = OURS, **scope: Any) -> Answer:
    return ask_asgi(asgi.EventsMiddleware(_asgi_site, path=ours), "GET", path, root_path=prefix, **scope)


def through_wsgi(prefix: str, path: str, ours: str | None = OURS) -> Answer:
    return ask_wsgi(wsgi.EventsMiddleware(_wsgi_site, path=ours), "GET", "/", SCRIPT_NAME=prefix, PATH_INFO=path)


BOTH = [
    ("", "/zaraz/api", ANSWERED),
    ("/zaraz", "/api", ANSWERED),
    ("/zaraz/api", "", ANSWERED),
    ("", "/zaraz/api/", THE_SITES),
    ("/zaraz/api", "/", THE_SITES),
    ("/zaraz", "/api/", THE_SITES),
    ("", "//zaraz/api", THE_SITES),
    ("", "/zaraz//api", THE_SITES),
    ("/zaraz/", "/api", THE_SITES),
    ("", "/zaraz/./api", THE_SITES),
    ("", "/zaraz/../zaraz/api", THE_SITES),
    ("", "/ZARAZ/API", THE_SITES),
    ("", "/zaraz%2Fapi", THE_SITES),  # servers decode once; this was sent as %252F
    ("", "/zaraz/api\x00", THE_SITES),
    ("", "/api", THE_SITES),
    ("", "", THE_SITES),
    ("/shop", "/zaraz/api", THE_SITES),
    ("/za", "raz/api", THE_SITES),
    ("/z", "/zaraz/api", THE_SITES),  # the public path is /z/zaraz/api
]


@pytest.mark.parametrize(("prefix", "path", "status"), BOTH)
def test_both_gateways(prefix: str, path: str, status: int) -> None:
    assert (through_asgi(prefix, path).status, through_wsgi(prefix, path).status) == (status, status)


@pytest.mark.parametrize("path", ["/zaraz/api", "/api", ""])
def test_nothing_is_active_by_default(path: str) -> None:
    assert (through_asgi("", path, None).status, through_wsgi("", path, None).status) == (THE_SITES, THE_SITES)


@pytest.mark.parametrize(
    ("prefix", "path", "ours", "status"),
    [
        ("/zaraz", "/zaraz/api", OURS, ANSWERED),  # uvicorn --root-path, mounts of Starlette
        ("/shop", "/shop/zaraz/api", OURS, THE_SITES),
        ("/shop", "/shop/zaraz/api", "/shop/zaraz/api", ANSWERED),
        ("/shop", "/zaraz/api", "/shop/zaraz/api", ANSWERED),  # hypercorn --root-path
    ],
)
def test_asgi_paths_with_or_without_their_prefix(prefix: str, path: str, ours: str, status: int) -> None:
    assert through_asgi(prefix, path, ours).status == status


@pytest.mark.parametrize(
    ("prefix", "path", "ours", "status"),
    [
        ("/zaraz", "/zaraz/api", OURS, THE_SITES),  # PATH_INFO never holds SCRIPT_NAME: this is /zaraz/zaraz/api
        ("/zaraz", "/zaraz/api", "/zaraz/zaraz/api", ANSWERED),
        ("/shop", "/zaraz/api", "/shop/zaraz/api", ANSWERED),
    ],
)
def test_wsgi_paths_never_hold_their_prefix(prefix: str, path: str, ours: str, status: int) -> None:
    assert through_wsgi(prefix, path, ours).status == status


def test_the_raw_path_does_not_matter() -> None:
    assert through_asgi("", OURS, raw_path=b"/zaraz%2Fapi").status == ANSWERED
    assert through_asgi("", "/other", raw_path=OURS.encode()).status == THE_SITES


def test_a_server_that_says_nothing_of_a_prefix() -> None:
    assert ask_wsgi(wsgi.EventsMiddleware(_wsgi_site, path=OURS), "GET", OURS, SCRIPT_NAME=None).status == ANSWERED
    assert through_asgi(None, OURS).status == ANSWERED  # type: ignore[arg-type]


def test_the_first_look_is_noticed_and_lets_every_request_be_looked_at() -> None:
    noticed: list[object] = []
    look = FirstLook(noticed.append)
    assert "/c" in look
    assert None in look
    assert noticed == ["/c", None]


# Below a prefix


def asking(kind: str, **options: Any) -> Callable[[str, str], int]:
    """Return what asks one wrapped site: (prefix, path below it) → status. ASGI comes as uvicorn and as hypercorn show it."""
    if kind == "wsgi":
        site: Any = wsgi.EventsMiddleware(_wsgi_site, **options)
        return lambda prefix, path: ask_wsgi(site, "GET", "/", SCRIPT_NAME=prefix, PATH_INFO=path).status
    site = asgi.EventsMiddleware(_asgi_site, **options)
    whole = kind == "uvicorn"
    return lambda prefix, path: ask_asgi(site, "GET", prefix + path if whole else path, root_path=prefix).status


KINDS = ("uvicorn", "hypercorn", "wsgi")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", [[], ["/"], ["/", "/page", "/other"]])
def test_a_prefix_that_the_path_lacks_is_found_out(
    kind: str, before: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ask = asking(kind, path=OURS, ready_path="/ready", journal="memory", data_dir=tmp_path)
    for path in before:
        assert ask("/shop", path) == THE_SITES
    assert not caplog.messages
    for path in (OURS, "/ready", OURS):
        assert ask("/shop", path) == THE_SITES
    [said] = [line for line in caplog.messages if "below the prefix" in line]
    assert "/shop/zaraz/api passed by unanswered" in said
    assert "Set path='/shop/zaraz/api', or mounted=True" in said


def test_a_prefix_is_found_out_after_the_start_of_a_lifespan(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As servers do it: the lifespan comes first, and tells of no prefix."""
    site: Any = asgi.EventsMiddleware(Starlette(), path=OURS, journal="memory", data_dir=tmp_path)
    with TestClient(site, root_path="/shop") as client:
        assert [client.get(path).status_code for path in ("/shop/", "/shop" + OURS)] == [404, 404]
    assert "Set path='/shop/zaraz/api'" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_the_hint_names_the_setting_that_gives_the_path(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ask = asking(kind, path=OURS, eventbunker_path="/eb", journal="memory", data_dir=tmp_path)
    assert ask("/a/b", "/eb/post") == THE_SITES
    assert "Set eventbunker_path='/a/b/eb'" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_no_hint_without_a_request_for_our_path(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ask = asking(kind, path=OURS, journal="memory", data_dir=tmp_path)
    for prefix, path in [("/shop", "/"), ("/shop", "/zaraz"), ("/shop", "/api"), ("", "/shop/zaraz/api"), ("/x", "")]:
        assert ask(prefix, path) == THE_SITES
    assert not [line for line in caplog.messages if "prefix" in line]


MOUNTED = [
    ("", OURS, True),
    ("/shop", OURS, True),
    ("/a/b", OURS, True),
    ("/shop", "/ready", True),
    ("/shop", "/eb/post", True),
    ("", "/ready", True),
    ("/shop", "/", False),
    ("", "/x" + OURS, False),
    ("/shop", "/x" + OURS, False),
    ("/shop", OURS + "/", False),
    ("/zaraz", "/api", False),
    ("", "", False),
]


@pytest.mark.parametrize("kind", KINDS)
def test_mounted_paths_are_below_any_prefix(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {"path": OURS, "eventbunker_path": "/eb", "ready_path": "/ready", "journal": "memory"}
    ask = asking(kind, mounted=True, data_dir=tmp_path, **options)
    for _ in range(2):  # the first request is looked at in another way
        for prefix, path, ours in MOUNTED:
            assert (ask(prefix, path) != THE_SITES) is ours, (prefix, path)
    assert "prefix" not in caplog.text


def test_a_foreign_request_costs_one_look_into_a_set_whatever_the_prefix(tmp_path: Path) -> None:
    site = asgi.EventsMiddleware(_asgi_site, path=OURS, journal="memory", data_dir=tmp_path)
    for path in ("/shop/", "/shop/page", "/shop/zaraz/api"):
        ask_asgi(site, "GET", path, root_path="/shop")
        assert type(site._tails) is frozenset
        assert "/shop/page" not in site._tails
