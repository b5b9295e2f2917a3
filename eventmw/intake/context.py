"""What a request to the site says of the person behind it, in the shape of the ``system`` object of an event.

It reads the requests of Django, Flask, Starlette, FastAPI, Litestar, Quart, Falcon and Pyramid, and imports none of them:
each holds the ASGI scope or the WSGI environ of its server.

Layer: pure rules. Source: the seed's table of system keys; PEP 3333, «URL Reconstruction»; W3C, «Fetch Metadata Request
Headers»; W3C, «User-Agent Client Hints».
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import quote

from eventmw.event import CLIENT_HINTS
from eventmw.formats import ip_of
from eventmw.http import RequestHead, client_hints, language_of
from eventmw.incoming import Fields, head_of_environ, head_of_scope
from eventmw.intake.door import address_of, told_by_proxies, wants_privacy
from eventmw.intake.paths import public_path

SECRET_COOKIES: Final = frozenset(
    {
        "__host-session",
        "_csrf",
        "_csrf_token",
        "_xsrf",
        "connect.sid",
        "csrf",
        "csrf_token",
        "csrftoken",
        "jsessionid",
        "phpsessid",
        "remember_token",
        "session",
        "sessionid",
        "xsrf-token",
    }
)
"""Cookies, in lower case, that log somebody in: whoever reads them in a journal or at a vendor could take the session over.
Source: the defaults of Django, Flask, Starlette, Litestar, Quart, Pyramid, Flask-Login, Tornado and others."""

_FIELDS: Final = Fields(
    (
        "accept-language",
        "cookie",
        "dnt",
        "host",
        "referer",
        "sec-fetch-mode",
        "sec-gpc",
        "user-agent",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-requested-with",
        *CLIENT_HINTS,
    )
)
_HOLDERS: Final = ("scope", "environ", "env", "META")
"""The attributes in which requests hold what their server said: all ASGI frameworks; Flask and Pyramid; Falcon; Django."""

_SAFE: Final = "/;=,:@!$&'()*+~"
"""Characters of a path that need no escape. Source: RFC 3986 3.3."""

_PORTS: Final = {"http": "80", "https": "443"}

Raw = Mapping[str, Any]


def system_of(request: object, proxies: int | None) -> dict[str, Any]:
    """Return the ``system`` object of a request: cookies, device and page, each as far as it is known.

    Args:
        request: a request of one of the frameworks above, an ASGI scope or a WSGI environ.
        proxies: how many proxies in front of the site are trusted; None: nobody knows, so the address is left out.

    Raises:
        TypeError: it is none of these.
    """
    raw = _raw_of(request)
    is_scope = _is_scope(raw)
    head, path = _from_scope(raw) if is_scope else _from_environ(raw)
    parts = {
        "cookies": _cookies(head.headers.get("cookie", "")),
        "device": _device(head, proxies),
        "page": _page(head, _url(head, path, _server(raw, is_scope=is_scope), proxies or 0), raw.get("type")),
    }
    return {name: part for name, part in parts.items() if part}


def merged(found: Mapping[str, Any], given: object) -> object:
    """Return what was found with what the caller gives over it, key by key."""
    if not isinstance(given, Mapping):
        return found if given is None else given
    over = cast(Mapping[str, Any], given)
    return {**found, **{name: _over(found.get(name), value) for name, value in over.items()}}


def _over(found: object, given: object) -> object:
    if isinstance(found, dict) and isinstance(given, Mapping):
        return {**cast(dict[str, Any], found), **cast(Mapping[str, Any], given)}
    return given


def _raw_of(request: object) -> Raw:
    """Return the scope or environ that a request holds, or is."""
    kind = type(request).__name__
    for name in _HOLDERS:
        held: object = getattr(request, name, None)
        # A request that a test of Django's made by hand has a META without a method.
        if isinstance(held, Mapping) and (name == "META" or _is_raw(cast(Raw, held))):
            return cast(Raw, held)
    if isinstance(request, Mapping) and _is_raw(cast(Raw, request)):
        return cast(Raw, request)
    raise TypeError(
        "request must be a request of Django, Flask, Starlette, FastAPI, Litestar, Quart, Falcon or Pyramid, an ASGI scope "
        f"or a WSGI environ, got {kind}"
    )


def _is_raw(held: Raw) -> bool:
    return _is_scope(held) or "REQUEST_METHOD" in held


def _is_scope(held: Raw) -> bool:
    return held.get("type") in {"http", "websocket"} and "headers" in held


def _from_scope(scope: Raw) -> tuple[RequestHead, str]:
    query: bytes = scope.get("query_string") or b""
    head = head_of_scope({"method": "GET", "path": "", **scope}, _FIELDS.raw, query.decode("latin-1"))
    path = public_path(scope.get("root_path") or "", scope.get("path", ""))
    return head, quote(path, _SAFE, errors="replace")


def _from_environ(environ: Raw) -> tuple[RequestHead, str]:
    scheme = environ.get("wsgi.url_scheme", "http")
    whole = {"REQUEST_METHOD": "GET", **environ}
    head = head_of_environ(whole, scheme, _FIELDS.environ, environ.get("QUERY_STRING", ""))
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return head, quote(_text(path), _SAFE, errors="replace")


def _server(raw: Raw, *, is_scope: bool) -> str:
    """Return the server's own name and port, for requests without a Host."""
    if is_scope:
        name, port = raw.get("server") or ("", None)
    else:
        name, port = raw.get("SERVER_NAME", ""), raw.get("SERVER_PORT", "")
    scheme = raw.get("scheme") if is_scope else raw.get("wsgi.url_scheme")
    if not name or name.startswith("/"):  # a socket in a folder has no name on the web
        return ""
    return f"{name}:{port}" if port and str(port) != _PORTS.get(scheme or "http") else name


def _url(head: RequestHead, path: str, server: str, proxies: int) -> str | None:
    """Return the public URL of a request, as the proxies that are trusted saw it; None when no host is known."""
    scheme, host = head.scheme, head.headers.get("host") or server
    if proxies:
        scheme = told_by_proxies("x-forwarded-proto", head.headers, proxies) or scheme
        host = told_by_proxies("x-forwarded-host", head.headers, proxies) or host
    return f"{scheme}://{host}{path}{'?' + head.query if head.query else ''}" if host else None


def _device(head: RequestHead, proxies: int | None) -> dict[str, Any]:
    headers = head.headers
    is_told = proxies is not None and not wants_privacy(headers)
    device = {
        "ip": ip_of(address_of(head, proxies or 0)) if is_told else None,
        "user-agent": headers.get("user-agent"),
        "language": language_of(headers.get("accept-language", "")),
        "client-hints": client_hints(headers),
    }
    return {name: value for name, value in device.items() if value}


def _cookies(field: str) -> dict[str, str]:
    """Return the cookies of a Cookie field, of equal names the first, without those that log somebody in."""
    cookies: dict[str, str] = {}
    for pair in field.split(";"):
        name, sign, value = (part.strip() for part in pair.partition("="))
        if sign and name and name.lower() not in SECRET_COOKIES:
            cookies.setdefault(_text(name), _text(value.removeprefix('"').removesuffix('"')))
    return cookies


def _text(value: str) -> str:
    """Return the text of bytes that a server showed as latin-1: browsers send UTF-8. Django has decoded some already."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _page(head: RequestHead, url: str | None, kind: object) -> dict[str, str]:
    """Return the page that the person looks at.

    That is the request's own URL when a browser shows its answer as a page. What a page's script fetches has a URL of its
    own, which nobody sees: then it is the Referer, the page of that script.
    """
    headers = head.headers
    referrer = headers.get("referer")
    is_fetched = (
        kind == "websocket"
        or headers.get("sec-fetch-mode", "navigate") != "navigate"
        or headers.get("x-requested-with", "").lower() == "xmlhttprequest"
    )
    page = {"url": referrer} if is_fetched else {"url": url, "referrer": referrer}
    return {name: value for name, value in page.items() if value}
