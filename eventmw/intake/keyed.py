"""The door of the EventBunker API: a key in a header of its own opens it, and says whose pages may use it.

Layer: pure rules. What every door does is shared with `eventmw.intake.door`. Source: PROTOCOLS.md 3.1, 2.3 and 2.4.

A preflight carries no key, so it is answered for the origins of any key. The fields by which a page may read an answer are
sent to the same origins: they tell a page that some key lists it, and no more. The request itself is let in for the origins
of its own key alone. Source: assumption.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Final, Protocol

import msgspec

from eventmw.errors import Fault, Refused
from eventmw.http import Headers, RequestHead
from eventmw.intake.door import (
    ANONYMOUS,
    PREFLIGHT_AGE_S,
    address_of,
    allowed_headers,
    check_origin,
    cors_fields,
    cross_site,
    encoding_of,
    idempotency_key_of,
    length_of,
    wrong_method,
)
from eventmw.keys import Key, KeyKind

_OF_KEY: Final = (
    "an origin of the key itself, which is given when a key is made (`eventmw keys create … --origin https://…`) and not "
    "changed later; allowed_origins has no say here"
)
_OF_ANY: Final = "an origin of any key (`eventmw keys create … --origin https://…`); allowed_origins has no say here"

_GETTING: Final = frozenset({"GET", "HEAD"})


class Keys(Protocol):
    """All keys that are in force, as a door asks for them. Both may raise `Refused` while nobody knows the keys."""

    def find(self, shown: str) -> Key | None:
        """Return the key that this secret stands for, in constant time; None when there is none."""
        ...

    def lists(self, origin: str) -> bool:
        """Return whether any key may be used by pages of this browser origin."""
        ...

    def lookup(self, shown: str) -> Future[None] | None:
        """Return the future of a look for a key that is not known yet; None: there is nothing to look for. Never waits."""
        ...

    def lookup_id(self, key_id: str) -> Future[None] | None:
        """Do as `lookup` does, for the id of a key."""
        ...

    def lookup_origin(self, origin: str) -> Future[None] | None:
        """Do as `lookup` does, for an origin that no known key lists."""
        ...


class HasKeys(Protocol):
    """Who holds the keys: asked at each request, since a forked child has its own."""

    @property
    def keys(self) -> Keys:
        """The keys."""
        ...


class NoKeys:
    """Keys of which there are none."""

    def find(self, shown: str) -> Key | None:  # noqa: ARG002 - as the Protocol has it
        """Return None."""
        return None

    def lists(self, origin: str) -> bool:  # noqa: ARG002 - as above
        """Return that none does."""
        return False

    def lookup(self, shown: str) -> None:
        """Return that there is nothing to look for."""

    def lookup_id(self, key_id: str) -> None:
        """Return that there is nothing to look for."""

    def lookup_origin(self, origin: str) -> None:
        """Return that there is nothing to look for."""


class KeyedVisit(msgspec.Struct, frozen=True, gc=False):
    """A request that may come in: what the door found out about it.

    Attributes:
        key: the key it showed; None for GET, which shows none.
        credential: ``<project id>/<key id>``, or ``anonymous`` for GET.
        address: the sender's address, behind trusted proxies; "" when the server does not tell.
        head: the request's head.
        encoding: ``gzip``, ``deflate`` or "".
        length: the announced length of the body, or None when it is chunked or not said.
        idempotency_key: as sent, or None.
    """

    key: Key | None
    credential: str
    address: str
    head: RequestHead
    encoding: str = ""
    length: int | None = None
    idempotency_key: str | None = None


class KeyedDoor:
    """Lets requests in that show a key of the right kind, or says why not. It keeps nothing.

    Args:
        host: who holds the keys.
        header: the header that carries the key, in lower case.
        kinds: the kinds of key that open it.
        trusted_proxies: how many proxies in front of the site append to ``X-Forwarded-For``.
        max_body_bytes: see `eventmw.config.Limits`.
        gets: returns the id of the key that a query string names, "" for none; None: GET and HEAD are not let in. They show
            no key.
    """

    def __init__(
        self,
        host: HasKeys,
        *,
        header: str,
        kinds: frozenset[KeyKind],
        trusted_proxies: int,
        max_body_bytes: int,
        gets: Callable[[str], str] | None = None,
    ) -> None:
        self._host = host
        self._header = header
        self._kinds = kinds
        self._proxies = trusted_proxies
        self._max_body_bytes = max_body_bytes
        self._gets = gets
        self._wanted = " or ".join(sorted(kinds))
        self._allow = "GET, HEAD, POST, OPTIONS" if gets is not None else "POST, OPTIONS"

    def admit(self, head: RequestHead) -> KeyedVisit:
        """Decide from the head.

        Raises:
            Refused: 400, 401, 403, 405, 413 or 415; what is wrong with the sender comes before what is wrong with the body.
        """
        headers, address = head.headers, address_of(head, self._proxies)
        if head.method != "POST":
            if self._gets is not None and head.method in _GETTING:
                return KeyedVisit(None, ANONYMOUS, address, head)
            raise wrong_method(head, self._allow)
        key = self._key(headers)
        if "sec-fetch-site" in headers or "origin" in headers:
            check_origin(head, key.origins, self._proxies, allowed=_OF_KEY)
        return KeyedVisit(
            key,
            f"{key.project_id}/{key.id}",
            address,
            head,
            encoding_of(headers["content-encoding"]) if "content-encoding" in headers else "",
            length_of(headers, self._max_body_bytes),
            idempotency_key_of(headers["idempotency-key"]) if "idempotency-key" in headers else None,
        )

    def _key(self, headers: Mapping[str, str]) -> Key:
        shown = headers.get(self._header, "").strip()
        key = self._host.keys.find(shown) if shown else None
        if key is None:
            raise self._unauthorized(f"Invalid {self._header}", "a key that is not known" if shown else "none")
        if key.kind not in self._kinds:
            words = f"Please use {_article(self._wanted)} {self._wanted} key for {self._wanted} requests. "
            raise self._unauthorized(f"{words}Invalid {self._header}", f"{_article(key.kind)} {key.kind} key")
        return key

    def _unauthorized(self, message: str, came: str) -> Refused:
        expected = f"expected {_article(self._wanted)} {self._wanted} key in the header {self._header}, got {came}"
        return Refused(
            "unauthorized",
            message,
            faults=(Fault(None, "", "", "unauthorized", expected),),
            headers=(("www-authenticate", f'ApiKey realm="eventmw", header="{self._header}"'),),
        )

    def lookup(self, head: RequestHead) -> Future[None] | None:
        """Return the future of a look for the key of a request, or the origin of a preflight, that is not known yet."""
        if self.is_preflight(head):
            return self._host.keys.lookup_origin(head.headers["origin"])
        if self._gets is not None and head.method in _GETTING:
            return self._host.keys.lookup_id(key_id) if (key_id := self._gets(head.query)) else None
        shown = head.headers.get(self._header, "").strip() if head.method == "POST" else ""
        return self._host.keys.lookup(shown) if shown else None

    def is_preflight(self, head: RequestHead) -> bool:
        """Return whether this is a CORS preflight: OPTIONS, and a browser's page asks."""
        return head.method == "OPTIONS" and "origin" in head.headers

    def preflight(self, head: RequestHead) -> Headers:
        """Return the header fields that answer a preflight.

        Raises:
            Refused: 403, no key lists the origin.
        """
        origin = head.headers.get("origin", "")
        if not self._host.keys.lists(origin):
            raise cross_site(origin, head.headers.get("sec-fetch-site"), _OF_ANY)
        return (
            ("access-control-allow-methods", "POST"),
            ("access-control-allow-headers", allowed_headers(head, ("content-type", "idempotency-key", self._header))),
            ("access-control-max-age", PREFLIGHT_AGE_S),
        )

    def cors(self, head: RequestHead) -> Headers:
        """Return the header fields by which an origin that any key lists may read any answer, errors included."""
        origin = head.headers.get("origin")
        return cors_fields(head, origin if origin is not None and self._lists(origin) else None)

    def _lists(self, origin: str) -> bool:
        try:
            return self._host.keys.lists(origin)
        except Refused:  # the request itself will be told so
            return False


def _article(word: str) -> str:
    return "an" if word[:1] in {"a", "e", "i", "o", "u"} else "a"
