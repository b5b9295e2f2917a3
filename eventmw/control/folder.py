"""The view of a journal in files: its figures, events and dead letters come from the folder, whether a site runs or not.

All processes of a data directory share one journal, so it is read once. Running processes are asked for what only they
know: how their lanes do, and which events a tool is to get. What moves places goes through whoever leads, or is done here
when nobody does; nothing of the command stays behind, and it never delivers.

Layer: input and output. `view.View` has what each method promises.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, Literal

from eventmw import record as records
from eventmw.archive import note, refill
from eventmw.assembly import assembled
from eventmw.clock import Clock, SystemClock
from eventmw.config import Config
from eventmw.control.live import POLL_S, LiveView, asked_to_track, belongs_to_another, receipt_of
from eventmw.control.merging import shared, unknown_to
from eventmw.control.operations import Operations
from eventmw.control.standing import as_json
from eventmw.control.view import Json, NobodyLive, NotAllowed
from eventmw.erasure import PERSON_FIELDS, Person, events_of, rewrite
from eventmw.errors import ConfigError, JournalDown
from eventmw.event import Receipt
from eventmw.forks import LateLock
from eventmw.intake.door import Visit
from eventmw.journal import FAILURES, Journal, Position, failures_in
from eventmw.journal.files import FileJournal
from eventmw.journal.files.epochs import load
from eventmw.journal.files.kept import Kept
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.registry import Member, Membership, Tools
from eventmw.keys.note import KeyNote
from eventmw.payload import OwnEvent
from eventmw.protocols.zaraz import Accepted

_CHUNK: Final = 1000


def members_of(data_dir: Path) -> list[Member]:
    """Return the live processes that have the journal open, but not those that only look into it."""
    others = Membership(Layout(data_dir), "").others()
    return [member for member in others if member.tools or member.site or member.delivers]


class _Idle:
    """Stands where a site has its courier: whoever delivers sees for itself what was moved."""

    def wake(self) -> None:
        """Wake nobody."""


class _Beside:
    """A host without a site: the journal of a folder, and the settings that a site has when nobody says otherwise."""

    def __init__(self, journal: FileJournal) -> None:
        self.config: Config = Config()
        self.clock: Clock = SystemClock()
        self.journal: Journal = journal
        self.courier = _Idle()
        self.projects = None
        self._zaraz, self.engine = assembled(self.config)

    @property
    def delivered_by(self) -> Literal["nobody"]:
        """What delivers: no process does now."""
        return "nobody"

    def remember(self, accepted: object) -> None:
        """Do nothing: what was tracked by others is found out at delivery."""

    def part(self) -> Mapping[str, Any]:
        """Return nothing: a command delivers nothing."""
        return {}

    def figures(self) -> Mapping[str, Any]:
        """Return nothing: a command adds nothing to the figures."""
        return {}

    def accept(self, body: bytes, visit: Visit) -> Accepted:
        """Judge a payload."""
        now_ms = self.clock.now_ms()
        return self._zaraz.accept(body, visit, (self.clock.new_id(now_ms), now_ms), self.engine, lambda: False)

    def append(self, accepted: Accepted) -> Future[Position]:
        """Hand its record to the journal."""
        record = accepted.record
        return self.journal.append(
            records.encode(record),
            events=accepted.judgement.accepted,
            recorded_ms=record.recorded_ms,
            stamp=self.clock.stamp_ns(),
        )


class FolderView:
    """The view of a data directory with a journal in files. Nothing is opened before the first question.

    `track` is thread-safe, the rest is not.

    Args:
        data_dir: the data directory.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._layout = Layout(data_dir)
        self._live = LiveView(data_dir)
        self._opening = LateLock()
        self._beside: _Beside | None = None
        self._journal: FileJournal | None = None

    @property
    def notes(self) -> Sequence[str]:
        """What the last call could not see, one sentence each."""
        return self._live.notes

    def close(self) -> None:
        """Let go of the folder."""
        if self._journal is not None:
            self._journal.leave()
        self._journal = self._beside = None

    def stats(self) -> Json:
        """Return where everything stands: the journal's figures once, and the lanes of whoever delivers."""
        figures = as_json(self._open().journal.stats(), {}, stores=self._stores())
        for tool, (reason, at_ms) in failures_in(Kept(self._layout.kept).get(FAILURES)).items():
            if (numbers := figures["tools"].get(tool)) is not None:
                numbers |= {"last_failure": reason, "last_failure_ms": at_ms}
        live: dict[int, Json] = {process["pid"]: process for process in self._if_live(self._live.processes, [])}
        members = [_as_process(member) for member in members_of(self._data_dir) if member.pid not in live]
        return shared(figures, [*live.values(), *members])

    def _stores(self) -> Mapping[str, str]:
        """Return what the folder shows of stores that were there: files that are gone or damaged, rows that were lost."""
        folder = self._data_dir
        filled = refill.decode(load(self._layout).noted(refill.NOTE))
        archive = note.archive_file(folder) if filled is not None and filled.rows else None
        keys = note.file_in(folder, "keys.sqlite3") if KeyNote(folder).read() is not None else None
        damage = note.damage_of(archive) if archive is not None else ""
        lost = refill.trouble(filled, SystemClock().now_ms(), note.rows_in(archive, filled.journal)) if filled else ""
        return {
            "archive": f"{archive} {damage}" if damage else lost,
            "keys": "" if keys is None else KeyNote(folder).trouble(keys),
        }

    def tail(self, *, last: int, tool: str | None = None, follow: bool = False) -> Iterator[Json | None]:
        """Return the last events, and with `follow` those that come."""
        ask = self._asking(tool)
        question: dict[str, Any] = {"op": "tail", "tool": tool, "last": last}
        while True:
            *items, end = ask(question)
            yield from (item["event"] for item in items)
            if not follow:
                return
            question = {"op": "tail", "tool": tool, "after": end["cursor"]}
            if not items:
                yield None
                time.sleep(POLL_S)

    def export(
        self, *, tool: str | None = None, since_ms: int | None = None, until_ms: int | None = None
    ) -> Iterator[Json]:
        """Return all kept events, as they are read."""
        yield from self._asking(tool)({"op": "export", "tool": tool, "since_ms": since_ms, "until_ms": until_ms})

    def dead_list(self, *, tool: str | None = None) -> Iterator[Json]:
        """Return the dead letters, as they are read."""
        yield from self._ask({"op": "dead_list", "tool": tool})

    def dead_retry(self, *, tool: str | None = None, ids: Sequence[str] | None = None) -> int:
        """Have dead letters tried again."""
        return self._change({"op": "dead_retry", "tool": tool, "ids": ids})

    def dead_drop(self, *, tool: str | None = None, ids: Sequence[str] | None = None) -> int:
        """Throw dead letters away."""
        return self._change({"op": "dead_drop", "tool": tool, "ids": ids})

    def replay(self, tool: str, *, since_ms: int | None = None, dry_run: bool = False) -> int:
        """Hand a tool again what it was given."""
        [answer] = self._ask({"op": "replay", "tool": tool, "since_ms": since_ms, "dry_run": dry_run})
        return int(answer["events"])

    def track(self, event: OwnEvent) -> Receipt:
        """Send one event through a process of the site, or, when none runs, write it into the journal."""
        try:
            return LiveView(self._data_dir).track(event)  # one of its own: several threads may be here
        except NobodyLive as error:
            if event.project is not None:
                raise JournalDown(f"project= needs a running site, which knows the projects. {error}") from None
            [told] = self._ask(asked_to_track(event))
            return receipt_of(told)

    def tools(self) -> Sequence[Json]:
        """Return the registered tools."""
        stats = self._open().journal.stats()
        members = members_of(self._data_dir)
        registered = dict(Tools(self._layout).registered())
        processes = [_as_process(member) for member in members]
        return [
            {
                "tool": tool.tool,
                "registered_ms": registered.get(tool.tool),
                "processes": sorted(member.pid for member in members if tool.tool in member.tools),
                "backlog_events": tool.backlog_events,
                "parked": tool.parked,
                "dead": tool.dead,
                "unknown_to": unknown_to(
                    tool.tool,
                    {"backlog_events": tool.backlog_events, "parked": tool.parked},
                    stats.leader_pid,
                    processes,
                ),
            }
            for tool in stats.tools
        ]

    def forget(self, tool: str) -> None:
        """End a tool."""
        self._open().journal.forget(tool)

    def person_fields(self) -> Sequence[str]:
        """Return where events name a person: as the running site is set, else as it is by default."""
        processes = self._if_live(self._live.processes, [])
        return next((process["person_fields"] for process in processes), PERSON_FIELDS)

    def erase(self, person: Person, *, dry_run: bool = False) -> Json:
        """Erase a person, or only count what is there of them."""
        return self._found(person) if dry_run else self._open().journal.erase(person.as_json())

    def _found(self, person: Person) -> Json:
        journal, cursor, held, events = self._open().journal, None, 0, 0
        while page := journal.scan(cursor, _CHUNK):
            cursor = page[-1].position
            counts = [count for entry in page if (count := events_of(entry.record, person))]
            held, events = held + len(counts), events + sum(counts)
        items = (item for place in load(self._layout).tools.values() for item in place.parking.items.values())
        return {
            "records": held,
            "events": events,
            "parked": sum(events_of(item.record, person) for item in items),
            "dead": sum(events_of(letter.record, person) for letter in journal.dead_letters()),
        }

    def _change(self, request: Json) -> int:
        [answer] = self._ask(request)
        return int(answer["count"])

    def _ask(self, request: Json) -> Iterable[Any]:
        return Operations(self._open(), rest_s=0.0)(request)

    def _asking(self, tool: str | None) -> Callable[[Json], Iterable[Any]]:
        """Return who can answer: which events a tool is to get, only a running site knows.

        Raises:
            JournalDown: that is asked, and no site runs.
        """
        if tool is None:
            return self._ask
        nobody = JournalDown(
            f"only a running site knows which events {tool} is to get, and none runs here. Without --tool, all are shown"
        )
        try:
            one = self._live.one()
        except NobodyLive:
            raise nobody from None

        def ask(request: Json) -> Iterator[Any]:
            try:
                yield from one(request)
            except NobodyLive:  # what was there was left behind by dead processes
                raise nobody from None

        return ask

    def _if_live(self, ask: Callable[[], Sequence[Json]], otherwise: Sequence[Json]) -> Sequence[Json]:
        try:
            return ask()
        except JournalDown:  # nobody, or nobody who answers: then the notes say so
            return otherwise

    def _open(self) -> _Beside:
        with self._opening:
            if self._beside is None:
                self._check_owner()
                try:
                    self._journal = FileJournal(self._data_dir, rewrite=rewrite)
                except ConfigError as error:
                    self._check_access()
                    raise JournalDown(error.problems[0]) from error
                self._beside = _Beside(self._journal)
            return self._beside

    def _check_owner(self) -> None:
        """Keep root from leaving files that the site cannot read.

        Raises:
            NotAllowed: root asks, and the folder is another user's.
        """
        if os.geteuid() == 0 != self._data_dir.stat().st_uid:
            raise NotAllowed(belongs_to_another(self._data_dir))

    def _check_access(self) -> None:
        if not os.access(self._data_dir, os.R_OK | os.W_OK | os.X_OK):
            raise NotAllowed(belongs_to_another(self._data_dir)) from None


def _as_process(member: Member) -> Json:
    """Return a process that has no socket, or did not answer, as `Operations` would show it."""
    return {
        "pid": member.pid,
        "since_ms": member.generation,
        "path": member.site or None,
        "delivers": member.delivers,
        "tools": list(member.tools),
        "stats": None,
    }
