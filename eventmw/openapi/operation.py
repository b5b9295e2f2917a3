"""What an API says of itself to whoever writes a client: an `Operation`, one method of one path.

Layer: vocabulary (standard library only). Source: OpenAPI 3.1, «Operation Object»; what each may answer is PROTOCOLS.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Method = Literal["get", "head", "post"]
Form = Literal["problem", "error"]

JSON: Final = "application/json"
HTML: Final = "text/html"

HEAD_CODES: Final = frozenset({"internal_error", "method_not_allowed", "overloaded", "rate_limited"})
"""What any request of ours may be refused with (see `eventmw.errors.PROBLEMS`), whatever its method."""

BODY_CODES: Final = HEAD_CODES | {
    "ambiguous_length", "body_timeout", "body_too_large", "client_gone", "cross_site", "incomplete_body", "invalid_encoding",
    "invalid_idempotency_key", "invalid_json", "invalid_length", "length_required", "number_too_large", "too_deep",
    "unauthorized", "unsupported_encoding",
}  # fmt: skip
"""What any request with a body may be refused with."""

KEPT_CODES: Final = frozenset({"journal_down", "journal_full", "journal_timeout", "too_many_events"})
"""What a request with events may be refused with beside them."""

CALL_CODES: Final = BODY_CODES | {"call_timeout", "keys_down"}
"""What any `Call` that shows a key may be refused with."""

ASK_CODES: Final = frozenset({"archive_down", "invalid_query", "query_timeout", "query_too_large"})
"""What a question to the archive may be refused with beside them."""


@dataclass(frozen=True, slots=True)
class SchemaRef:
    """A published schema, ``eventmw/schemas/<name>.json``, or one of its definitions."""

    name: str
    definition: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What a body holds: of these schemas any, as JSON. Without schemas, text of `media_type`.

    ``many`` stands for arrays of each: ``(SchemaRef("x"), many)`` is an x, or an array of them.
    """

    schemas: tuple[SchemaRef, ...] = ()
    arrays_of: tuple[SchemaRef, ...] = ()
    media_type: str = JSON


@dataclass(frozen=True, slots=True)
class KeyIn:
    """The key that a request shows: in which header (lower case), and of which kind."""

    header: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path.

    Attributes:
        id: unique in a document; clients name their functions by it.
        path: below the path that the site gives its API, such as ``/v1/query/json``.
        summary: half a sentence.
        description: what else a caller has to know; CommonMark.
        keys: any of them opens it; none: nobody needs a key.
        keyless: whether it can be called without a key all the same.
        body: what it takes; None: it has no body.
        needs_body: whether an empty body is refused.
        examples: name → a body that is taken.
        answer: what it answers with 200.
        codes: what it may be refused with, keys of `eventmw.errors.PROBLEMS`.
        form: of its refusals: ``problem`` of RFC 9457, or the ``error`` object of EventBunker.
        error_arrays: whether a 400 may be an array of error objects, one for each event.
        pages: statuses that are answered by a page for people, beside those of the codes → what they mean.
        query: name of a parameter of the query string → what it is; all are required texts.
        headers: header that may be sent → its schema and what it is for.
        counts_rejected: whether a 200 may tell of refused events in ``Eventmw-Rejected``.
    """

    id: str
    method: Method = "post"
    path: str
    tag: str
    summary: str
    description: str = ""
    keys: tuple[KeyIn, ...] = ()
    keyless: bool = False
    body: Content | None = None
    needs_body: bool = True
    examples: Mapping[str, Any] = field(default_factory=dict[str, Any])
    answer: Content
    codes: frozenset[str]
    form: Form = "error"
    error_arrays: bool = False
    pages: Mapping[int, str] = field(default_factory=dict[int, str])
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    counts_rejected: bool = False


IDEMPOTENCY_KEY: Final[Mapping[str, Any]] = {
    "description": "Makes the ids of the same events repeat, so that a request can be sent again without harm. "
    "Another event under the same key is another event.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
}
"""The header ``Idempotency-Key``; `eventmw.intake.door.idempotency_key_of` decides."""
