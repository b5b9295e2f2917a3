"""The journal's figures: from the leader's memory, or from what is on the disk.

Layer: input and output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from eventmw.journal import JournalStats
from eventmw.journal.files import heartbeat
from eventmw.journal.files.epochs import load
from eventmw.journal.files.frames import Total
from eventmw.journal.files.graves import read_letters
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.leader import Leader
from eventmw.journal.files.ledger import Ledger
from eventmw.journal.files.places import ToolPlace
from eventmw.journal.files.registry import Tools
from eventmw.journal.files.sources import Sources


class _Picture(NamedTuple):
    """What the figures are read off."""

    places: Layout
    ledger: Ledger
    sources: Sources
    ends: Mapping[str, Total]


def of_leader(leader: Leader, cap_bytes: int) -> JournalStats:
    """Return the figures of the process that leads."""
    with leader.lock:
        leader.learn_tools()
        ends = leader.sources.ends()
        picture = _Picture(leader.places, leader.ledger, leader.sources, ends)
        return _stats(picture, cap_bytes, lambda tool: leader.oldest_ms(tool, ends))


def from_disk(places: Layout, cap_bytes: int) -> JournalStats:
    """Return the figures as the disk has them; what the leader has not written is a tenth of a second at most."""
    ledger = load(places)
    for tool, start in Tools(places).starts():
        if tool not in ledger.tools:
            ledger.tools[tool] = ToolPlace(dead=sum(1 for _ in read_letters(places, tool)))  # of one that was forgotten
            for sid, end in start.items():
                ledger.tools[tool].reach(sid).move_to(end)
    sources = Sources(places, leading=False)
    try:
        sources.take_over()
        picture = _Picture(places, ledger, sources, sources.ends())
        return _stats(picture, cap_bytes, lambda tool: _oldest_ms(picture, tool))
    finally:
        sources.close()


def _stats(picture: _Picture, cap_bytes: int, oldest_ms: Callable[[str], int | None]) -> JournalStats:
    places, ledger, sources, ends = picture
    appended = _sum([ledger.gone, *ends.values()])
    bases = _sum([source.segments.base() for source in sources.all.values()])
    kept = Total(*(max(0, end - base) for end, base in zip(_sum(ends.values()), bases, strict=True)))
    beat = heartbeat.read(places)
    return JournalStats(
        durability="journaled",
        records=kept.seq,
        events=kept.events,
        bytes=kept.bytes + sum(place.parking.bytes for place in ledger.tools.values()),
        cap_bytes=cap_bytes,
        appended_records=appended.seq,
        appended_events=appended.events,
        leader_pid=None if beat is None else beat.pid,
        heartbeat_ms=None if beat is None else beat.beat_ms,
        tools=[place.stats(tool, ends, oldest_ms(tool)) for tool, place in ledger.tools.items()],
    )


def _sum(totals: Iterable[Total]) -> Total:
    return Total(*(sum(numbers) for numbers in zip((0, 0, 0), *totals, strict=True)))


def _oldest_ms(picture: _Picture, tool: str) -> int | None:
    moments: list[int] = []
    for sid, end in picture.ends.items():
        reach = picture.ledger.tools[tool].reach(sid)
        if reach.left(end).events:
            found = picture.sources.all[sid].find(reach.first_open())
            moments += [] if found is None else [found.entry.recorded_ms]
    return min(moments, default=None)
