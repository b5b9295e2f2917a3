"""What a site's process answers over its control channel: one function for each thing that a command may ask.

Layer: input and output, on the journal and the engine. It runs on a thread of the site's process, so what walks over much
rests in between.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from eventmw.archive import ARCHIVE
from eventmw.clock import Clock
from eventmw.config import Config
from eventmw.engine import Engine
from eventmw.erasure import Person, events_of
from eventmw.event import Event
from eventmw.formats import to_iso
from eventmw.journal import DeadLetter, Entry, Key, Position
from eventmw.payload import OwnEvent
from eventmw.record import ERASED, Erased
from eventmw.toolkit.eventjson import as_json
from eventmw.tracking import Keeper, Tracking
from eventmw.version import VERSION

PAGE: Final = 200
"""Records that one look at the log takes."""

LOOK_BACK: Final = 5000
"""The latest events among which ``tail`` looks for those of one tool."""

_PIECE: Final = 20_000
"""Dead letters that are changed in one step: whoever delivers has its turn in between."""

_REST_S: Final = 0.0005

Request = Mapping[str, Any]
_T = TypeVar("_T")


class Courier(Protocol):
    """What deliveries need to hear of."""

    def wake(self) -> None:
        """Look for work: a place was moved, or dead letters were revived."""
        ...


class Host(Keeper, Protocol):
    """The site's runtime, as far as it is asked."""

    config: Config
    engine: Engine
    clock: Clock

    @property
    def courier(self) -> Courier:
        """The courier of this process."""
        ...

    def part(self) -> Mapping[str, Any]:
        """Return where everything stands, or this process's part of it, when it shares its journal."""
        ...

    def figures(self) -> Mapping[str, Any]:
        """Return what this process adds to the figures for Prometheus."""
        ...


def _delivers_to(host: Host) -> list[str]:
    """Return the ids of all that a process has in the journal: its tools, and the archive where there is one."""
    archive = [ARCHIVE] if host.config.eventbunker_path is not None else []
    return [*(tool.id for tool in host.engine.tools), *archive]


class Operations:
    """Answers for one site.

    Args:
        host: the site's runtime.
        rest_s: seconds to rest in between, where a site's threads want their turns.
    """

    def __init__(self, host: Host, *, rest_s: float = _REST_S) -> None:
        self._host = host
        self._rest_s = rest_s
        self._since_ms = host.clock.now_ms()
        self._known: Mapping[str, Callable[[Request], Iterable[Any]]] = {
            "stats": self._stats,
            "figures": self._figures,
            "tail": self._tail,
            "dead_list": self._dead_list,
            "dead_retry": self._dead_retry,
            "dead_drop": self._dead_drop,
            "replay": self._replay,
            "export": self._export,
            "erase": self._erase,
            "track": self._track,
            "track_project": self._track,
        }

    def __call__(self, request: Request) -> Iterable[Any]:
        """Return the items of the answer.

        Raises:
            ValueError: the request is not understood.
            LookupError: it names a tool that is not there.
        """
        known = self._known.get(str(request.get("op")))
        if known is None:
            raise ValueError("the running site does not know this command: it may run another version of eventmw")
        return known(request)

    def _stats(self, _request: Request) -> Iterable[Any]:
        yield {
            "pid": os.getpid(),
            "version": VERSION,
            "since_ms": self._since_ms,
            "path": self._host.config.path,
            "eventbunker_path": self._host.config.eventbunker_path,
            "delivers": self._host.config.courier == "thread",
            "tools": _delivers_to(self._host),
            "person_fields": list(self._host.config.person_fields),
            "stats": self._host.part(),
        }

    def _figures(self, _request: Request) -> Iterable[Any]:
        yield self._host.figures()

    def _tail(self, request: Request) -> Iterable[Any]:
        """Return the ``last`` events, or those after a cursor; then ``{"cursor": …}``, after which the next look goes on."""
        tool = request.get("tool")
        self._check_tool(tool)
        if "last" in request:
            wanted = int(request["last"])
            entries, cursor = self._latest(wanted, tool)
            yield from _last([{"event": event} for event in self._shown(entries, tool)], wanted)
        else:
            cursor = _position(request.get("after"))
            entries = self._host.journal.scan(cursor, PAGE)
            yield from ({"event": event} for event in self._shown(entries, tool))
            cursor = entries[-1].position if entries else cursor
        yield {"cursor": cursor}

    def _latest(self, wanted: int, tool: str | None) -> tuple[Iterable[Entry], Position | None]:
        """Return the records that hold at least the last `wanted` events, and where the log ends."""
        enough = wanted if tool is None else max(wanted, LOOK_BACK)
        latest: deque[Entry] = deque()
        held, cursor = 0, None
        while page := self._host.journal.scan(cursor, PAGE):
            cursor = page[-1].position
            for entry in page:
                latest.append(entry)
                held += entry.events
                while latest and held - latest[0].events >= enough:
                    held -= latest.popleft().events
            self._rest()
        return latest, cursor

    def _shown(self, entries: Iterable[Entry], tool: str | None) -> Iterator[Mapping[str, Any]]:
        for entry in self._rested(entries):
            try:
                events = list(self._host.engine.events(entry.record))
            except Exception as error:  # noqa: BLE001 - a damaged record is shown as one
                yield {"unreadable": type(error).__name__, "recorded": to_iso(entry.recorded_ms)}
            else:
                yield from (_shown(event, entry) for event in events if tool is None or self._is_for(tool, event))

    def _is_for(self, tool: str, event: Event | Erased) -> bool:
        return isinstance(event, Erased) or self._host.engine.decisions(event).get(tool) != "filtered"

    def _check_tool(self, tool: str | None) -> None:
        known = {bound.id for bound in self._host.engine.tools}
        if tool is None or tool in known:
            return
        known |= {stats.tool for stats in self._host.journal.stats().tools}
        if tool not in known:
            raise LookupError(f"there is no tool {tool!r}; the site's tools are: {', '.join(sorted(known)) or 'none'}")

    def _dead_list(self, request: Request) -> Iterable[Any]:
        for letter in self._letters(request):
            event = self._event(letter)
            yield {
                "tool": letter.tool,
                "id": self._letter_id(letter),
                "outcome": letter.outcome,
                "reason": letter.reason,
                "attempts": letter.attempts,
                "buried": to_iso(letter.buried_ms),
                "event": as_json(event) if isinstance(event, Event) else None,
                "erased": event is ERASED,
            }

    def _dead_retry(self, request: Request) -> Iterable[Any]:
        now_ms = self._host.clock.now_ms()
        yield self._for_each_tool(request, lambda tool, keys: self._host.journal.revive(tool, keys, now_ms))
        self._host.courier.wake()

    def _dead_drop(self, request: Request) -> Iterable[Any]:
        yield self._for_each_tool(request, self._host.journal.drop_dead)

    def _for_each_tool(self, request: Request, change: Callable[[str, Iterable[Key]], int]) -> Mapping[str, Any]:
        keys: dict[str, list[Key]] = {}
        for letter in self._letters(request):
            keys.setdefault(letter.tool, []).append(letter.key)
        return {"count": sum(change(tool, some) for tool, wanted in keys.items() for some in _pieces(wanted))}

    def _letters(self, request: Request) -> Iterator[DeadLetter]:
        """Return the dead letters that are asked for: of one tool or of all, with these ids or with any.

        A tool that was taken out of the configuration may have some, too.

        Raises:
            LookupError: there is no such tool, nor any letter of it.
        """
        tool, ids = request.get("tool"), request.get("ids")
        letters = self._host.journal.dead_letters
        if tool is not None and next(letters(tool), None) is None:
            self._check_tool(tool)
        wanted = None if ids is None else frozenset(ids)
        for letter in self._rested(letters(tool)):
            if wanted is None or self._letter_id(letter) in wanted:
                yield letter

    def _letter_id(self, letter: DeadLetter) -> str:
        """Return the event's id, or its place in the log when its record cannot be read."""
        (stream, seq), ordinal = letter.key
        event = self._event(letter)
        return event.id if isinstance(event, Event) else f"{stream}-{seq}-{ordinal}"

    def _event(self, letter: DeadLetter) -> Event | Erased | None:
        """Return the letter's event; None when it cannot be read."""
        try:
            return next(iter(self._host.engine.events(letter.record)), None)
        except Exception:  # noqa: BLE001 - as above
            return None

    def _replay(self, request: Request) -> Iterable[Any]:
        tool, since_ms = str(request["tool"]), request.get("since_ms")
        self._check_tool(tool)
        if request.get("dry_run"):
            yield {"events": self._would_replay(tool, since_ms or 0)}
            return
        journal = self._host.journal
        again = journal.seek(tool, to="start") if since_ms is None else journal.seek(tool, since_ms=int(since_ms))
        self._host.courier.wake()
        yield {"events": again}

    def _would_replay(self, tool: str, since_ms: int) -> int:
        """Return about how many events `seek` would hand out again: those kept since then, without the unsettled ones."""
        kept, cursor = 0, None
        while page := self._host.journal.scan(cursor, PAGE):
            cursor = page[-1].position
            kept += sum(entry.events for entry in page if kept or entry.recorded_ms >= since_ms)
            self._rest()
        waiting = sum(
            stats.backlog_events + stats.parked for stats in self._host.journal.stats().tools if stats.tool == tool
        )
        return max(0, kept - waiting)

    def _export(self, request: Request) -> Iterable[Any]:
        """Return the kept events, those of a tool or all, recorded from ``since_ms`` and before ``until_ms``."""
        tool, since_ms, until_ms = request.get("tool"), request.get("since_ms"), request.get("until_ms")
        self._check_tool(tool)
        cursor = None
        while page := self._host.journal.scan(cursor, PAGE):
            cursor = page[-1].position
            meant = [
                entry
                for entry in page
                if (since_ms is None or entry.recorded_ms >= since_ms)
                and (until_ms is None or entry.recorded_ms < until_ms)
            ]
            yield from self._shown(meant, tool)

    def _erase(self, request: Request) -> Iterable[Any]:
        """Erase a person from a memory journal, which nobody else can reach."""
        person = request["person"]
        if not request.get("dry_run"):
            yield dict(self._host.journal.erase(person))
            return
        meant, journal = Person(person["fields"], person["value"]), self._host.journal
        held, cursor = [0], None
        while page := journal.scan(cursor, PAGE):
            cursor = page[-1].position
            held += filter(None, (events_of(entry.record, meant) for entry in self._rested(page)))
        dead = sum(events_of(letter.record, meant) for letter in self._rested(journal.dead_letters()))
        yield {"records": len(held) - 1, "events": sum(held), "dead": dead}

    def _rested(self, items: Iterable[_T]) -> Iterator[_T]:
        """Pass items on, with a rest after each few: the site's threads want their turns."""
        for number, item in enumerate(items, 1):
            yield item
            if number % 20 == 0:
                self._rest()

    def _rest(self) -> None:
        """Let the site's threads work. A command, alone in its process, has none: there even no time costs a turn."""
        if self._rest_s:
            time.sleep(self._rest_s)

    def _track(self, request: Request) -> Iterable[Any]:
        body = str(request["body"]).encode()
        event = OwnEvent(body, request.get("project"), request.get("id"), request.get("sender") or {})
        receipt = Tracking.of(self._host, event).result(self._host.config.limits.append_timeout_s)
        yield dataclasses.asdict(receipt)


def _shown(event: Event | Erased, entry: Entry) -> Mapping[str, Any]:
    """Return an event for ``tail``; of one that was erased, when it was recorded."""
    return {"erased": True, "recorded": to_iso(entry.recorded_ms)} if isinstance(event, Erased) else as_json(event)


def _pieces(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    for first in range(0, len(keys), _PIECE):
        yield keys[first : first + _PIECE]


def _last(items: list[_T], wanted: int) -> list[_T]:
    return items[-wanted:] if wanted else []


def _position(after: Sequence[Any] | None) -> Position | None:
    return None if after is None else Position(str(after[0]), int(after[1]))
