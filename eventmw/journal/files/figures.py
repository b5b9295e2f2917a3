"""The journal's figures: from the leader's memory, or from what is on the disk.

Layer: input and output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from eventmw.journal import JournalStats
from eventmw.journal.files.epochs import load
from eventmw.journal.files.frames import Total
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.leader import Leader
from eventmw.journal.files.ledger import Ledger
from eventmw.journal.files.places import ToolPlace
from eventmw.journal.files.registry import Tools
from eventmw.journal.files.sources import Sources


def of_leader(leader: Leader, cap_bytes: int) -> JournalStats:
    """Return the figures of the process that leads."""
    with leader.lock:
        leader.learn_tools()
        ends = leader.sources.ends()
        return _stats(leader.ledger, leader.sources, ends, cap_bytes, lambda tool: leader.oldest_ms(tool, ends))


def from_disk(places: Layout, cap_bytes: int) -> JournalStats:
    """Return the figures as the disk has them; what the leader has not written is a tenth of a second at most."""
    ledger = load(places)
    for tool, start in Tools(places).starts():
        if tool not in ledger.tools:
            ledger.tools[tool] = ToolPlace()
            for sid, end in start.items():
                ledger.tools[tool].reach(sid).move_to(end)
    sources = Sources(places, leading=False)
    try:
        sources.take_over()
        ends = sources.ends()
        return _stats(ledger, sources, ends, cap_bytes, lambda tool: _oldest_ms(ledger.tools[tool], sources, ends))
    finally:
        sources.close()


def _stats(
    ledger: Ledger,
    sources: Sources,
    ends: Mapping[str, Total],
    cap_bytes: int,
    oldest_ms: Callable[[str], int | None],
) -> JournalStats:
    appended = _sum([ledger.gone, *ends.values()])
    bases = _sum([source.base() for source in sources.all.values()])
    kept = Total(*(max(0, end - base) for end, base in zip(_sum(ends.values()), bases, strict=True)))
    return JournalStats(
        durability="journaled",
        records=kept.seq,
        events=kept.events,
        bytes=kept.bytes + sum(place.parking.bytes for place in ledger.tools.values()),
        cap_bytes=cap_bytes,
        appended_records=appended.seq,
        appended_events=appended.events,
        tools=[place.stats(tool, ends, oldest_ms(tool)) for tool, place in ledger.tools.items()],
    )


def _sum(totals: Iterable[Total]) -> Total:
    seq = events = size = 0
    for total in totals:
        seq, events, size = seq + total[0], events + total[1], size + total[2]
    return Total(seq, events, size)


def _oldest_ms(place: ToolPlace, sources: Sources, ends: Mapping[str, Total]) -> int | None:
    moments: list[int] = []
    for sid, end in ends.items():
        reach = place.reach(sid)
        if reach.left(end).events:
            found = sources.all[sid].find(reach.first_open())
            moments += [] if found is None else [found.entry.recorded_ms]
    return min(moments, default=None)
