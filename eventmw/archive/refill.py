"""What a journal remembers of the archive that it fills, and what is known of rows that the archive has lost.

The archive counts, for each journal, the rows that it got from there, in the transaction that writes them. The journal
remembers that number in its own state. An archive whose number is smaller was made anew, emptied, exchanged, or restored
from a backup, and is filled again from what the journal still holds.

Layer: pure rules (no library of an extra): commands read it as well.
"""

from __future__ import annotations

from typing import Final

import msgspec

from eventmw.formats import to_iso

NOTE: Final = "archive"
"""Under this name the journal's state keeps the `FillNote`."""

FILLING: Final = "the archive has lost rows, and is being filled again from the journal"

TOLD_MS: Final = 7 * 86_400_000
"""How long `eventmw stats` tells of rows that were lost. Source: assumption."""


class Gap(msgspec.Struct, frozen=True):
    """Rows that the archive had and has no more.

    Attributes:
        rows: how many; None: not known, since only the table of events was emptied, which a deletion may do as well.
        since_ms: when the archive that was found had been written last, milliseconds since 1970; 0: never.
        seen_ms: when it was found.
        at_rows: how many rows the journal had written until then.
        filled: how many came back from the journal.
        before_ms: events that were recorded before it had been rows, the others waited still; 0: not noted.
        is_over: whether the journal has nothing more to give.
    """

    rows: int | None
    since_ms: int
    seen_ms: int
    at_rows: int
    filled: int = 0
    is_over: bool = False
    before_ms: int = 0

    @property
    def lost(self) -> int:
        """How many rows cannot be had any more; rows that were deleted on purpose since then are among them."""
        return max(0, (self.rows or 0) - self.filled)


class FillNote(msgspec.Struct, frozen=True):
    """What the journal remembers: its own name in the archive, how many rows it wrote there, and the last gap."""

    journal: str
    rows: int = 0
    gap: Gap | None = None

    def encode(self) -> str:
        """Return it as text."""
        return msgspec.json.encode(self).decode()


def decode(text: str | None) -> FillNote | None:
    """Return the note of a text; None when there is none that can be read."""
    try:
        return None if text is None else msgspec.json.decode(text, type=FillNote)
    except msgspec.DecodeError:
        return None


def told(gap: Gap) -> str:
    """Return the sentence for a gap that is over."""
    since = f"after {to_iso(gap.since_ms)}" if gap.since_ms else f"before {to_iso(gap.seen_ms)}"
    begin = f"at {to_iso(gap.seen_ms)} the archive was found without {gap.rows or gap.filled:,} rows that it had"
    lost = f"{gap.lost:,} cannot be had any more (accepted {since})"
    return f"{begin}: {gap.filled:,} were filled again from the journal, {lost if gap.lost else 'none is missing'}"


def trouble(note: FillNote | None, now_ms: int, found: int | None = None) -> str:
    """Return what `eventmw stats` tells of the archive's rows; "" when there is nothing to tell.

    Args:
        note: what the journal remembers.
        now_ms: milliseconds since 1970.
        found: how many rows of the journal the archive says that it has; None: not known.
    """
    if note is not None and found is not None and found < note.rows:
        rows = f"{note.rows - found:,} rows that it had"
        return f"the archive lacks {rows}: a site fills it again as far as the journal goes"
    gap = None if note is None else note.gap
    if gap is None or (gap.rows is None and not gap.filled) or now_ms - gap.seen_ms > TOLD_MS:
        return ""
    return told(gap) if gap.is_over else FILLING
