"""``POST {eventbunker_path}/v1/query/json``: a question in JSON, its answer as JSON.

Layer: input and output.

Source: the seed API's query page for the path, the header and the question; the shape of the answer is ours (docs/query.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from msgspec import Raw

from eventmw.eventbunker.answers import json_reply
from eventmw.http import Reply
from eventmw.jsontext import encode
from eventmw.keys import Key, KeyKind
from eventmw.openapi.operation import ASK_CODES, CALL_CODES, Content, KeyIn, Operation, SchemaRef
from eventmw.pauses import pause
from eventmw.query.language import SCHEMA, parse_text
from eventmw.query.run import Runner, too_many_bytes
from eventmw.query.table import Table

HEADER: Final = "x-eventbunker-query-key"
PATH: Final = "/v1/query/json"

QUESTION: Final = Content((SchemaRef(SCHEMA),))
QUESTIONS: Final[Mapping[str, Any]] = {
    "counts": {
        "time_period": "minus_7_days",
        "interval": "day",
        "group_by": ["event_name"],
        "computations": [{"function": "count"}],
        "filters": [{"field_name": "customer_identifier", "op": "exists"}],
    },
    "events": {"limit": 10},
}
"""Examples of questions."""

OPERATION: Final = Operation(
    id="query_json",
    path=PATH,
    tag="query",
    summary="Ask the archive, and get rows.",
    description="A key that is bound to a customer, or that has a filter, sees no other events.",
    keys=(KeyIn(HEADER, "query"),),
    body=QUESTION,
    examples=QUESTIONS,
    answer=Content((SchemaRef("eventbunker-answer", "table"),)),
    codes=CALL_CODES | ASK_CODES,
)


@dataclass(frozen=True, slots=True)
class QueryJson:
    """A `Call`: answers ``{"columns", "rows", "truncated", "time_period", "time_zone"}``, see `Table.as_json`.

    Args:
        ask: the archive.
        now_ms: the clock's.
    """

    ask: Runner
    now_ms: Callable[[], int]
    path: str = PATH
    header: str = HEADER
    kinds: frozenset[KeyKind] = frozenset({"query"})

    def answer(self, key: Key, body: bytes) -> Reply:
        """Answer a question within what the key may see; asks the database, and so may block.

        Raises:
            Refused: ``invalid_json`` or ``invalid_query`` (400), or what `Runner` raises.
        """
        with self.ask.in_time():
            table = self.ask(parse_text(body, self.now_ms()), key)
            return reply(table, self.ask.limits.max_bytes)


def reply(table: Table, max_bytes: int) -> Reply:
    """Return a table as the body of an answer.

    Raises:
        Refused: ``query_too_large``.
    """
    rows: list[bytes] = []
    size = 0
    for row in table.rows:  # one by one: the interpreter's lock would be held for all of them
        rows.append(encode(table.row_as_json(row)))
        size += len(rows[-1]) + 1
        if size > max_bytes:
            raise too_many_bytes(max_bytes)
        pause()
    answer = json_reply(replace(table, rows=()).as_json() | {"rows": Raw(b"[" + b",".join(rows) + b"]")})
    if len(answer.body) > max_bytes:
        raise too_many_bytes(max_bytes)
    return answer
