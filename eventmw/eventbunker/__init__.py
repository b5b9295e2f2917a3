"""The EventBunker API below `eventbunker_path`: tracking, and the calls that ask, manage and delete.

Layer: vocabulary. Source: PROTOCOLS.md 3.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from eventmw.http import Reply
from eventmw.keys import Key, KeyKind

__all__ = ["Call", "Gettable", "Key", "KeyKind", "Reply"]


class Call(Protocol):
    """One HTTP call below `eventbunker_path` that is not tracking.

    The gateway has looked at method, length, encoding, size and time, and has found the key. `answer` may block: it runs in
    a small pool of threads, never on an event loop.

    Attributes:
        path: below `eventbunker_path`, such as ``/v1/query/json``.
        header: the header that carries the key, in lower case, such as ``x-eventbunker-query-key``.
        kinds: which kinds of key open it; a key of another kind is refused with 401.
    """

    @property
    def path(self) -> str:
        """Where it is."""
        ...

    @property
    def header(self) -> str:
        """Where its key is."""
        ...

    @property
    def kinds(self) -> frozenset[KeyKind]:
        """Whom it answers."""
        ...

    def answer(self, key: Key, body: bytes) -> Reply:
        """Answer a request whose key is known and of the right kind. ``body`` is inflated.

        Raises:
            Refused: becomes the dialect's error body, see `eventmw.protocols.eventbunker.answer`.
        """
        ...


@runtime_checkable
class Gettable(Protocol):
    """A `Call` that answers GET and HEAD as well, without a key: what is in the query string has to say who asks."""

    def get(self, query_string: str) -> Reply:
        """Answer ``GET path?query_string``; may block, and is never logged with its query string.

        Raises:
            Refused: as for `Call.answer`.
        """
        ...

    def key_id_in(self, query_string: str) -> str:
        """Return the id of the key that a query string names, whoever wrote it; "" for none."""
        ...

    def key_of(self, query_string: str) -> Key | None:
        """Return the key in whose name a query string asks; None when it opens nothing. Waits for no database."""
        ...
