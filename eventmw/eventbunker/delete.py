"""``POST {eventbunker_path}/v1/delete``: events go for good, from journal, dead letters and archive.

Layer: input and output. Source: PROTOCOLS.md 3.3 (ours); the shape of the answer is ours (docs/eventbunker.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from eventmw.archive.store import Archive
from eventmw.archive.transactions import ArchiveAway
from eventmw.errors import ConfigError, JournalDown, Refused
from eventmw.eventbunker.answers import json_reply
from eventmw.http import Reply
from eventmw.keys import Key, KeyKind
from eventmw.openapi.operation import CALL_CODES, Content, KeyIn, Operation, SchemaRef
from eventmw.pauses import current
from eventmw.query.deletion import SCHEMA, selection_of
from eventmw.selection import Selection

PATH: Final = "/v1/delete"
HEADER: Final = "x-eventbunker-delete-key"
RETRY: Final = (("retry-after", "5"),)

OPERATION: Final = Operation(
    id="delete",
    path=PATH,
    tag="delete",
    summary="Delete events for good.",
    description="From archive, journal and dead letters; no replay brings them back. What meets all that is given goes.",
    keys=(KeyIn(HEADER, "delete"),),
    body=Content((SchemaRef(SCHEMA),)),
    examples={"customer": {"customer_identifier": "8841"}, "old": {"event_name": "debug", "time_period": "last_year"}},
    answer=Content((SchemaRef("eventbunker-answer", "deleted"),)),
    codes=CALL_CODES | {"archive_down", "invalid_body", "journal_down"},
)


class Erasing(Protocol):
    """The journal, as far as this call knows it."""

    def erase(self, meant: Mapping[str, Any], /) -> Mapping[str, int]:
        """Erase; returns ``{"records", "parked", "dead"}``."""
        ...


@dataclass(frozen=True, slots=True)
class DeleteCall:
    """A `Call`: answers ``{"project_id", "deleted": {"archive", "journal", "parked", "dead_letters"}}``.

    ``archive`` counts events, ``journal`` records that held some; a request that was tracked as a batch is one record.

    Args:
        journal: the site's.
        archive: the site's.
        now_ms: the clock's.
    """

    journal: Erasing
    archive: Archive
    now_ms: Callable[[], int]
    path: str = PATH
    header: str = HEADER
    kinds: frozenset[KeyKind] = frozenset({"delete"})

    def answer(self, key: Key, body: bytes) -> Reply:
        """Delete what is meant. It waits for all processes that write, about a second, and for the databases.

        Raises:
            Refused: 400 of a wrong body; 503 while something cannot be deleted: what could be is gone, and a second call
                deletes the rest.
        """
        meant = selection_of(body, key, self.now_ms())
        with current().away():  # it waits for a second and longer
            deleted = self._delete(meant)
        return json_reply({"project_id": meant.project, "deleted": deleted})

    def _delete(self, meant: Selection) -> dict[str, int]:
        """Delete from the journal first, or it would fill the archive again."""
        try:
            kept = self.journal.erase(meant.as_json())
        except JournalDown as error:
            detail = "Not everything was deleted: the journal cannot be changed now. Send it again."
            raise Refused("journal_down", detail, headers=RETRY) from error
        try:
            self.archive.open()
            rows = self.archive.delete(
                meant.project,
                customer=meant.customer,
                event_name=meant.event_name,
                since_ms=meant.since_ms,
                until_ms=meant.until_ms,
                made_ms=meant.made_ms,
            )
        except (ArchiveAway, ConfigError) as error:
            detail = "Not everything was deleted: the archive cannot be changed now. Send it again."
            raise Refused("archive_down", detail, headers=RETRY) from error
        return {
            "archive": rows["events"],
            "journal": kept["records"],
            "parked": kept["parked"],
            "dead_letters": kept["dead"],
        }
