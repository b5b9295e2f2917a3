"""A site that has no lifespan: some refuse it, some return at once. Neither has ended, and its events are delivered."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from eventmw import Delivery, asgi
from eventmw.testing import Vendor
from eventmw.tools import Webhook


async def refuses(scope: Scope, _receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise ValueError("this site answers requests only")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def ignores(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await refuses(scope, receive, send)


async def ask(app: Any, scope: dict[str, Any], body: bytes = b"") -> list[Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    try:
        await app(scope, receive, send)
    except ValueError:
        assert scope["type"] == "lifespan"
    return sent


def by_hand(app: Any, scope: dict[str, Any], body: bytes = b"") -> list[Any]:
    """Do as `ask` does, as an event loop would that is not asyncio's: nothing here waits."""
    try:
        ask(app, scope, body).send(None)
    except StopIteration as end:
        return list(end.value)
    raise AssertionError("it waited for something")


@pytest.mark.parametrize("path", ["/e", "/eb/post"])
def test_another_event_loop_than_asyncio_is_named_once_and_events_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    asgi._warn_of_loop.cache_clear()
    app = asgi.EventsMiddleware(
        ignores, path="/e", eventbunker_path="/eb", ready_path="/ready", data_dir=str(tmp_path / "data")
    )
    with caplog.at_level(logging.WARNING):
        by_hand(app, {"type": "lifespan"})
        assert by_hand(app, http("GET", "/page"))[0]["status"] == 200
        for _ in range(3):
            assert by_hand(app, http("POST", path), b'{"events": []}')[0]["status"] == 503
        assert by_hand(app, http("GET", "/ready"))[0]["status"] == 200
    [message] = caplog.messages
    assert "event loop is not asyncio" in message
    app.close()


def http(method: str, path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [],
        "query_string": b"",
        "client": ("127.0.0.1", 1),
    }


@pytest.mark.parametrize("site", [refuses, ignores])
@pytest.mark.parametrize("journal", ["file", "memory"])
def test_events_are_delivered_though_the_lifespan_was_over_at_once(tmp_path: Path, site: Any, journal: str) -> None:
    with Vendor() as vendor:
        hook = Webhook(vendor.url, delivery=Delivery(first_backoff_s=0.1))
        app = asgi.EventsMiddleware(site, path="/e", tools=[hook], journal=journal, data_dir=str(tmp_path / "data"))
        body = json.dumps({"events": [{"client": {"__zarazTrack": "a"}}]}).encode()

        async def visits() -> None:
            await ask(app, {"type": "lifespan"})
            await ask(app, http("GET", "/page"))
            [start, _] = await ask(app, http("POST", "/e"), body)
            assert start["status"] == 200

        asyncio.run(visits())
        vendor.wait_for(1)
        assert app.close()


def test_what_an_earlier_process_kept_is_delivered_after_a_request_for_a_page(tmp_path: Path) -> None:
    with Vendor() as vendor:
        options: dict[str, Any] = {"path": "/e", "data_dir": str(tmp_path / "data"), "journal": "file"}
        before = asgi.EventsMiddleware(refuses, tools=[Webhook(vendor.url)], courier="off", **options)
        before.track("left behind")
        before.close()
        app = asgi.EventsMiddleware(refuses, tools=[Webhook(vendor.url)], **options)

        async def visits() -> None:
            await ask(app, {"type": "lifespan"})
            await ask(app, http("GET", "/page"))

        asyncio.run(visits())
        vendor.wait_for(1)
        assert app.close()
