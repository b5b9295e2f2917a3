"""The control of `saturation`: the same pages, and a path that reads each payload whole and answers 200, with no eventmw.

It decodes, checks and keeps nothing. Its answer is as long as eventmw's to ten events.
"""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from benchmarks.sites.pages import page

_ANSWER = b'{"results":[' + b",".join([b'{"fetch":[],"execute":[],"return":{},"cookies":{}}'] * 10) + b"]}"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Eat a payload, or answer a page."""
    if scope["type"] != "http":
        return
    if scope["path"] != "/zaraz/api":
        await page(scope["path"], send)
        return
    while (await receive()).get("more_body", False):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _ANSWER})
