"""The calls of a chart: ``POST /v1/query/iframe`` with a query key, ``GET /v1/query/iframe?token=…`` with a signed link.

Layer: input and output. A token is in no message, no log and no exception of ours.

Source: PROTOCOLS.md 3.3; the statuses of links that open nothing are ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Final, Protocol

from eventmw.charts.links import MAX_LIFETIME_S, BadLink, Link, Why, check, claimed, token_in
from eventmw.charts.page import SELF, chart_page, notice_page
from eventmw.errors import Refused, told
from eventmw.eventbunker.query import HEADER, QUESTION, QUESTIONS
from eventmw.http import Reply
from eventmw.keys import Key, KeyKind
from eventmw.openapi.operation import ASK_CODES, CALL_CODES, HEAD_CODES, HTML, Content, KeyIn, Operation
from eventmw.query.language import parse_text
from eventmw.query.question import Query
from eventmw.query.table import Table

log = logging.getLogger("eventmw")

PATH: Final = "/v1/query/iframe"

MAX_CELLS: Final = 100_000
"""Cells of a page, rows times columns: browsers show no more of them with ease. Source: assumption."""

# Why a link opens nothing → status, heading, what to do.
_WHYS: Final[Mapping[Why, tuple[int, str, str]]] = {
    "missing": (
        400,
        "No chart was asked for",
        "The address needs ?token=… at its end: one token, as it was made.",
    ),
    "not_a_link": (
        400,
        "This link is not complete",
        "A part of it is missing, or something was added. Copy the whole link once more.",
    ),
    "forged": (
        403,
        "This link is not valid",
        "It was changed after it was made, or the key behind it was replaced.",
    ),
    "withdrawn": (403, "This link was withdrawn", "The key behind it is no longer in use."),
    "too_long": (
        403,
        "This link would work for too long",
        f"A link may work for at most {MAX_LIFETIME_S // 86_400} days.",
    ),
    "expired": (410, "This link has expired", "It was made for a limited time."),
}

_WAYS: Final = (
    ("You follow the link", "Ask the owner of the page for a new one."),
    ("You own the page", "Make a new link with eventmw query … --link, and put it into the page."),
)
"""What to do about a link that opens nothing."""

_PAGE: Final = Content(media_type=HTML)
_LINK: Final = Operation(
    id="query_link",
    method="get",
    path=PATH,
    tag="query",
    summary="Show the chart of a signed link.",
    description="For the `src` of an iframe. Whoever has the link sees the chart, until it expires.",
    query={"token": "What the site signed; see `eventmw query --link`."},
    answer=_PAGE,
    codes=HEAD_CODES | ASK_CODES | {"call_timeout", "keys_down"},
    pages={
        status: "; ".join(heading for of, heading, _ in _WHYS.values() if of == status)
        for status in sorted({status for status, _, _ in _WHYS.values()})
    },
)
OPERATIONS: Final[Sequence[Operation]] = (
    Operation(
        id="query_iframe",
        path=PATH,
        tag="query",
        summary="Ask the archive, and get a page with a chart.",
        keys=(KeyIn(HEADER, "query"),),
        body=QUESTION,
        examples=QUESTIONS,
        answer=_PAGE,
        codes=CALL_CODES | ASK_CODES,
    ),
    _LINK,
    replace(_LINK, id="query_link_head", method="head", summary="Tell whether a signed link shows its chart."),
)


class LinkKeys(Protocol):
    """Where keys are looked up, in memory and as of now: `eventmw.keys.ring.KeyRing`."""

    def by_id(self, key_id: str) -> Key | None:
        """Return the key with an id; None when there is none, or it is revoked."""
        ...

    def digest_of(self, key_id: str) -> bytes | None:
        """Return the SHA-256 of that key's secret; None as above."""
        ...


class ChartCall:
    """Answers with a page. A `Call`, and a `Gettable`.

    Args:
        ask: the archive, `eventmw.query.run.Runner`; may block, and raises `Refused`.
        keys: where the key behind a link is looked up.
        now_ms: the clock's.
        frame_ancestors: who may show a page in a frame.
        in_time: holds all that a page takes to the time of a question.
    """

    path: str = PATH
    header: str = HEADER
    kinds: frozenset[KeyKind] = frozenset({"query"})

    def __init__(
        self,
        ask: Callable[[Query, Key], Table],
        keys: LinkKeys,
        now_ms: Callable[[], int],
        frame_ancestors: Sequence[str] = SELF,
        in_time: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._ask = ask
        self._keys = keys
        self._now_ms = now_ms
        self._frame_ancestors = tuple(frame_ancestors)
        self._in_time = in_time

    def answer(self, key: Key, body: bytes) -> Reply:
        """Return the page of the query in a body.

        Raises:
            Refused: as the query does; the gateway answers in the dialect's form.
        """
        return self._page(key, body, None)

    def get(self, query_string: str) -> Reply:
        """Return the page of a link, or a small page that says why there is none. Never raises: a person reads it."""
        try:
            link, key = self._opened(token_in(query_string))
            return self._page(key, link.query.encode(), link.title or None)
        except BadLink as bad:
            return notice_page(*_WHYS[bad.why], self._frame_ancestors, ways=_WAYS)
        except Refused as refused:
            page = notice_page(refused.status, refused.title, refused.detail, self._frame_ancestors)
            return page._replace(headers=(*page.headers, *refused.headers))
        except Exception as error:  # noqa: BLE001 - in a frame nobody can read another kind of answer
            log.warning("a chart could not be made: %s", told(error))
            words = "The log of the site says why. Try again later."
            return notice_page(500, "The chart cannot be shown", words, self._frame_ancestors)

    def key_id_in(self, query_string: str) -> str:
        """Return the id of the key that a link names, which anybody may have written; "" when it is no link."""
        try:
            return claimed(token_in(query_string)).key_id
        except BadLink:
            return ""

    def key_of(self, query_string: str) -> Key | None:
        """Return the key in whose name a link asks; None when it opens nothing, which `get` will say."""
        try:
            return self._opened(token_in(query_string))[1]
        except (BadLink, Refused):
            return None

    def _page(self, key: Key, body: bytes, title: str | None) -> Reply:
        with self._in_time():
            table = self._ask(parse_text(body, self._now_ms()), key)
            if len(table.rows) * len(table.columns) > MAX_CELLS:
                detail = f"Expected a page of at most {MAX_CELLS:,} cells, got more. Set a limit, or fewer columns."
                raise Refused("query_too_large", detail)
            return chart_page(table, title, self._frame_ancestors)

    def _opened(self, token: str) -> tuple[Link, Key]:
        """Return what a token stands for, and the key in whose name it asks.

        Raises:
            BadLink: it opens nothing.
        """
        ident = claimed(token).key_id
        key, digest = self._keys.by_id(ident), self._keys.digest_of(ident)
        if key is None or digest is None:
            raise BadLink("withdrawn")
        link = check(token, digest, self._now_ms() / 1000)
        if key.kind not in self.kinds or key.project_id != link.project_id:
            raise BadLink("forged")
        return link, key
