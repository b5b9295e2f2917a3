"""What owners ask of the leader: to move a place, to end a tool, to try dead letters again or throw them away.

Layer: input and output. Each order takes the leader's lock, and is carried out whole or not at all.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Literal

from eventmw.errors import JournalDown
from eventmw.journal import Commit, Key, Parked, Position
from eventmw.journal.files.leader import Leader
from eventmw.journal.files.places import Facts, ToolPlace

log = logging.getLogger("eventmw.journal")


def seek(
    leader: Leader,
    tool: str,
    *,
    since_ms: int | None = None,
    to: Literal["start", "end"] | None = None,
    command: str = "",
) -> int:
    """Move a tool's place. See `eventmw.journal.Journal.seek`."""
    with leader.lock:
        place = ToolPlace.decoded(leader.known(tool).encoded())
        ends = leader.sources.ends()
        before = place.left(ends).events
        if to == "end":
            place.skip_to(ends)
        else:
            for sid in ends:
                _move_back(leader, place, sid, since_ms)
        again = 0 if to == "end" else place.left(ends).events - before
        leader.epochs.write(leader.ledger.place(tool, place, command, again))
        leader.merges.pop(tool, None)
        leader.resting.clear()
        return again


def forget(leader: Leader, tool: str) -> None:
    """End a tool: nothing of it is kept but its dead letters."""
    with leader.lock:
        leader.registry.forget(tool)
        if tool in leader.ledger.tools:
            leader.epochs.write(leader.ledger.place(tool, None))
            leader.merges.pop(tool, None)


def revive(leader: Leader, tool: str, keys: Iterable[Key], now_ms: int) -> int:
    """Park dead letters again. See `eventmw.journal.Journal.revive`."""
    with leader.lock:
        place = leader.known(tool)
        letters = list(leader.graves.letters(tool, frozenset(keys)))
        if not letters:
            return 0
        parked = [Parked(letter.key, letter.record, 0, now_ms, letter.reason) for letter in letters]
        fresh: dict[Position, tuple[Facts, set[int]]] = {}
        for letter in letters:
            leader.note_fresh(place, letter.key, fresh)
        _dig_out_after(leader, tool, Commit(park=parked), fresh, [letter.key for letter in letters])
        return len(letters)


def drop_dead(leader: Leader, tool: str, keys: Iterable[Key]) -> int:
    """Throw dead letters away for good."""
    with leader.lock:
        wanted = list(keys)
        try:
            gone = leader.graves.dig_out(leader.ledger.number, tool, wanted)
        except OSError as error:
            raise JournalDown(f"dead letters cannot be dropped: {error.strerror or error}") from error
        _count_dead(leader, tool)
        return gone


def _count_dead(leader: Leader, tool: str) -> None:
    if tool in leader.ledger.tools:
        leader.epochs.write(leader.ledger.count(tool, {}, leader.graves.index.count(tool)))


def _dig_out_after(
    leader: Leader, tool: str, step: Commit, fresh: Mapping[Position, tuple[Facts, set[int]]], keys: list[Key]
) -> None:
    """Carry out a step, then let these letters go: one that died in between has them parked and dead, and mends it."""
    left = leader.graves.index.count(tool) - len(keys)
    leader.epochs.write(leader.ledger.commit(tool, step, fresh, left))
    try:
        leader.graves.dig_out(leader.ledger.number, tool, keys)
    except OSError:
        log.exception("dead letters that are tried again could not be removed; the next start does")


def _move_back(leader: Leader, place: ToolPlace, sid: str, since_ms: int | None) -> None:
    """Move a place in one stream back to the first kept record since a time; what is parked stays settled."""
    source = leader.sources.all[sid]
    source.segments.look()
    target = source.segments.base() if since_ms is None else source.before(since_ms)
    reach = place.reach(sid)
    if target.seq < reach.total.seq:
        reach.total = target
    reach.beyond = {seq: held for seq, held in reach.beyond.items() if seq <= target.seq}
    for key in place.parking.items:
        if key.position.stream == sid and key.position.seq > reach.total.seq:
            _settle_again(leader, place, key)
    reach.advance()
    place.moved = True


def _settle_again(leader: Leader, place: ToolPlace, key: Key) -> None:
    if (facts := leader.facts(place, key.position)) is not None:
        place.reach(key.position.stream).settle(key.position.seq, [key.ordinal], facts)
