"""One request to a site in this process, as a server would make it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from werkzeug.test import EnvironBuilder, run_wsgi_app

SEED = b'{"events": [{"client": {"__zarazTrack": "transaction successful", "value": "200"}}]}'
"""Source: zaraz-http-events-api, «Send events»."""

Fields = Sequence[tuple[str, str]]


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes


def ask_asgi(
    app: Any,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Fields = (),
    *,
    messages: Sequence[Any] | None = None,
    **scope: Any,
) -> Answer:
    """Send one request. `messages` replaces the body's single one; after the last the connection stays open until the answer."""
    inbox = list(messages) if messages is not None else [{"type": "http.request", "body": body}]
    fields = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return asyncio.run(_ask(app, inbox, {**_SCOPE, "method": method, "path": path, "headers": fields, **scope}))


_SCOPE = {
    "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "scheme": "http",
    "raw_path": b"", "query_string": b"", "root_path": "", "client": ("192.0.2.1", 5), "server": ("site.example", 80),
}  # fmt: skip


async def _ask(app: Any, inbox: list[Any], scope: dict[str, Any]) -> Answer:
    sent: list[Any] = []
    answered = asyncio.Event()

    async def receive() -> Any:
        if not inbox:
            await answered.wait()  # as servers do: Quart, for one, ends only when it hears that the client has left
            return {"type": "http.disconnect"}
        message = inbox.pop(0)
        if isinstance(message, Exception):
            raise message
        return message

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            answered.set()

    await app(scope, receive, send)
    start = next(message for message in sent if message["type"] == "http.response.start")
    headers = [(name.decode().lower(), value.decode("latin-1")) for name, value in start.get("headers", [])]
    return Answer(start["status"], headers, b"".join(message.get("body", b"") for message in sent))


def ask_wsgi(app: Any, method: str, path: str, body: bytes = b"", headers: Fields = (), **environ: Any) -> Answer:
    """Send one request; `environ` replaces keys of the environ, None removes one."""
    builder = EnvironBuilder(path=path, method=method, input_stream=io.BytesIO(body), content_length=len(body))
    made = {**builder.get_environ(), "REMOTE_ADDR": "192.0.2.1"}
    made |= {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers}
    made |= environ
    chunks, status, fields = run_wsgi_app(app, {key: value for key, value in made.items() if value is not None})
    body = b"".join(chunks)
    if hasattr(chunks, "close"):
        chunks.close()
    return Answer(int(status.split()[0]), [(name.lower(), value) for name, value in fields], body)
