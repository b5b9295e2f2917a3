"""One visitor's request, as an ASGI and as a WSGI server show it, and what it says of the visitor."""

from __future__ import annotations

import io
from typing import Any

HEADERS = {
    "host": "shop.example",
    "cookie": '_ga=GA1.2.3; city="Z\xc3\xbcrich"; sessionid=secret; csrftoken=secret',
    "user-agent": "Mozilla/5.0",
    "accept-language": "de;q=0.8, fr-CH, en;q=0.9",
    "referer": "https://search.example/?q=shoes",
    "sec-ch-ua-platform": '"Android"',
    "sec-ch-ua-model": '"Pixel 9"',
    "x-forwarded-for": "203.0.113.9, 198.51.100.1",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "www.shop.example",
}
PEER = "192.0.2.7"
SYSTEM: dict[str, dict[str, Any]] = {
    "cookies": {"_ga": "GA1.2.3", "city": "Zürich"},
    "device": {
        "ip": PEER,
        "user-agent": "Mozilla/5.0",
        "language": "fr-CH",
        "client-hints": {"platform": '"Android"', "model": '"Pixel 9"'},
    },
    "page": {"url": "http://shop.example/shop/caf%C3%A9%20x?id=7&b=%20", "referrer": "https://search.example/?q=shoes"},
}


def scope_of(headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    given = HEADERS if headers is None else headers
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "root_path": "/shop",
        "path": "/shop/café x",
        "raw_path": b"/shop/caf%C3%A9%20x",
        "query_string": b"id=7&b=%20",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
        "client": (PEER, 4711),
        "server": ("127.0.0.1", 8000),
        **more,
    }


def environ_of(headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    given = HEADERS if headers is None else headers
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "/shop",
        "PATH_INFO": "/café x".encode().decode("latin-1"),
        "QUERY_STRING": "id=7&b=%20",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": PEER,
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in given.items()},
        **more,
    }
