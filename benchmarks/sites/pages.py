"""The pages of the ASGI sites: ``/`` a small one, ``/table`` one that is rendered for about a millisecond."""

from __future__ import annotations

from starlette.types import Send

_SMALL = b"<!doctype html><title>Shop</title><p>Good day."


def table() -> bytes:
    """Return a page as a template would make it: 400 rows out of values."""
    rows = (f"<tr><td>{number}<td>Product {number}<td>{number * 1.19:.2f} EUR</tr>" for number in range(1000, 1400))
    return f"<!doctype html><title>Shop</title><table>{''.join(rows)}</table>".encode()


async def page(path: str, send: Send) -> None:
    """Answer one of the two; any other path with a question mark."""
    await answer({"/": lambda: _SMALL, "/table": table}.get(path, lambda: b"?")(), send)


async def answer(body: bytes, send: Send) -> None:
    """Send a page."""
    headers = [(b"content-type", b"text/html"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
