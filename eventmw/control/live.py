"""The view of running processes: it asks each live socket of a data directory, and merges what they answer.

Layer: input and output. `view.View` has what each method promises, `server` the protocol.
"""

from __future__ import annotations

import dataclasses
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, cast

from eventmw.control.merging import merged
from eventmw.control.server import ERRORS
from eventmw.control.sockets import bury, connected, folder_of, found, pid_of
from eventmw.control.view import Json, NobodyLive, NotAllowed
from eventmw.erasure import Person
from eventmw.errors import EventmwError, JournalDown, JournalFull
from eventmw.event import Receipt
from eventmw.jsontext import encode
from eventmw.payload import OwnEvent

TIMEOUT_S: Final = 5.0
POLL_S: Final = 0.25


class Unanswered(EventmwError):  # noqa: N818 - says what the request is
    """A process did not answer, or not to the end.

    Attributes:
        gone: nobody listens: the request was surely not carried out.
    """

    def __init__(self, message: str, *, gone: bool = False) -> None:
        super().__init__(message)
        self.gone = gone


def ask(path: Path, request: Json, timeout_s: float = TIMEOUT_S) -> Iterator[Any]:
    """Ask one process, and return the items of its answer as they come.

    Args:
        path: its socket.
        request: ``{"op": …, …}``.
        timeout_s: seconds that each step may take: connecting, and every line.

    Raises:
        Unanswered: nobody listens (`gone`), it takes too long, or the answer is cut off.
        InvalidEvent, JournalFull, JournalDown, LookupError, ValueError: what the process answers instead.
    """
    process = f"process {pid_of(path)}"
    try:
        with connected(path, timeout_s) as connection, connection.makefile("rb") as lines:
            connection.sendall(encode(request) + b"\n")
            for line in lines:
                told: dict[str, Any] = json.loads(line)
                if "item" not in told:
                    return _finish(process, told)
                yield told["item"]
    except TimeoutError:
        raise Unanswered(f"{process} does not answer: it is stopped, or hangs") from None
    except (FileNotFoundError, ConnectionRefusedError):
        bury(path)
        raise Unanswered(f"{process} has ended", gone=True) from None
    except OSError as error:
        raise Unanswered(f"{process} cannot be reached: {error.strerror or error}") from None
    raise Unanswered(f"{process} ended in the middle of its answer")


def _finish(process: str, told: Json) -> None:
    if "error" not in told:
        return
    message = str(told.get("message", ""))
    if (known := ERRORS.get(str(told["error"]))) is not None:
        raise known(message)
    raise Unanswered(f"{process} could not answer: {message}")


class LiveView:
    """The view of the processes that are alive now; each call looks for them afresh. Not thread-safe.

    Args:
        data_dir: the data directory of their sites.
        timeout_s: seconds that one of them may take for each step of an answer.
    """

    def __init__(self, data_dir: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        self._data_dir = data_dir
        self._timeout_s = timeout_s
        self._notes: list[str] = []

    @property
    def notes(self) -> Sequence[str]:
        """What the last call could not see, one sentence each."""
        return tuple(self._notes)

    def close(self) -> None:
        """Do nothing: nothing is kept open."""

    def stats(self) -> Json:
        """Return where everything stands, summed over the processes."""
        return merged(self.processes())

    def processes(self) -> list[Json]:
        """Return what each process says of itself."""
        return [items[0] for _, items in self._ask_all(lambda _: {"op": "stats"})]

    def one(self) -> Callable[[Json], Iterator[Any]]:
        """Return a way to ask the first process that answers: for what all of them would answer alike.

        Raises:
            NobodyLive: there is none.
        """
        paths = self._sockets()
        return lambda request: self._ask_first(paths, request)

    def _ask_first(self, paths: list[Path], request: Json) -> Iterator[Any]:
        """Return what the first answers that can; who cannot is not asked again.

        Raises:
            LookupError: none of them knows the tool.
            JournalDown: none of them answers.
        """
        unknown: LookupError | None = None
        for path in paths.copy():
            try:
                answer = ask(path, request, self._timeout_s)
                first = list(islice(answer, 1))
            except LookupError as error:
                unknown = error
            except Unanswered as error:
                self._notes += [] if error.gone else [str(error)]
            else:
                yield from first
                yield from answer
                return
            paths.remove(path)
        raise self._unanswered(unknown)

    def tail(self, *, last: int, tool: str | None = None, follow: bool = False) -> Iterator[Json | None]:
        """Return the last events of all processes in order of time, and with `follow` those that come."""
        cursors: dict[Path, Any] = {}
        events = self._look(cursors, lambda _: {"op": "tail", "tool": tool, "last": last})
        yield from events[max(0, len(events) - last) :]
        while follow:
            yield None
            time.sleep(POLL_S)
            try:
                # A process that was not there before is new: all that it holds is wanted.
                yield from self._look(cursors, lambda path: {"op": "tail", "tool": tool, "after": cursors.get(path)})
            except NobodyLive:
                cursors.clear()  # the site restarts

    def _look(self, cursors: dict[Path, Any], question: Callable[[Path], Json]) -> list[Json]:
        """Take one look at each process, and note where it ended."""
        events: list[Json] = []
        for path, items in self._ask_all(question):
            cursors[path] = items[-1]["cursor"]
            events += [item["event"] for item in items[:-1]]
        return sorted(events, key=_recorded)

    def export(
        self, *, tool: str | None = None, since_ms: int | None = None, until_ms: int | None = None
    ) -> Iterator[Json]:
        """Return all kept events, process by process."""
        request = {"op": "export", "tool": tool, "since_ms": since_ms, "until_ms": until_ms}
        unknown: LookupError | None = None
        cut: Unanswered | None = None
        answers = 0
        for path in self._sockets():
            begun = False
            try:
                for item in ask(path, request, self._timeout_s):
                    begun = True
                    yield item
                answers += 1
            except LookupError as error:
                unknown = error
            except Unanswered as error:
                cut = error if begun else cut
                self._notes += [] if error.gone else [str(error)]
        if cut is not None:
            raise cut  # the others were asked first: they cannot help that one ended
        if not answers:
            raise self._unanswered(unknown)

    def dead_list(self, *, tool: str | None = None) -> Iterator[Json]:
        """Return the dead letters of all processes."""
        for _, items in self._ask_all(lambda _: {"op": "dead_list", "tool": tool}):
            yield from items

    def dead_retry(self, *, tool: str | None = None, ids: Sequence[str] | None = None) -> int:
        """Have dead letters tried again."""
        return self._change({"op": "dead_retry", "tool": tool, "ids": ids})

    def dead_drop(self, *, tool: str | None = None, ids: Sequence[str] | None = None) -> int:
        """Throw dead letters away."""
        return self._change({"op": "dead_drop", "tool": tool, "ids": ids})

    def _change(self, request: Json) -> int:
        return sum(items[0]["count"] for _, items in self._ask_all(lambda _: request))

    def replay(self, tool: str, *, since_ms: int | None = None, dry_run: bool = False) -> int:
        """Hand a tool again what it was given."""
        request = {"op": "replay", "tool": tool, "since_ms": since_ms, "dry_run": dry_run}
        return sum(items[0]["events"] for _, items in self._ask_all(lambda _: request))

    def tools(self) -> Sequence[Json]:
        """Return the tools of the processes. In memory none is registered: it is there as long as its process."""
        picture = self.stats()
        return [
            {
                "tool": ident,
                "registered_ms": None,
                "processes": sorted(
                    process["pid"] for process in picture["processes"] if ident in process["stats"]["tools"]
                ),
                "backlog_events": tool["backlog_events"],
                "parked": tool["parked"],
                "dead": tool["dead"],
                "unknown_to": None,
            }
            for ident, tool in picture["tools"].items()
        ]

    def forget(self, tool: str) -> None:
        """Refuse: what is configured in memory is there as long as its process."""
        self._sockets()
        raise ValueError(f'with journal = "memory" {tool} ends with its process: take it out of the configuration')

    def person_fields(self) -> Sequence[str]:
        """Return where events name a person, as the processes are set."""
        return cast("Sequence[str]", self.processes()[0]["person_fields"])

    def erase(self, person: Person, *, dry_run: bool = False) -> Json:
        """Erase a person from what the processes hold."""
        request = {"op": "erase", "person": person.as_json(), "dry_run": dry_run}
        counts: Counter[str] = Counter()
        for _, items in self._ask_all(lambda _: request):
            counts.update(items[0])
        return dict(counts)

    def track(self, event: OwnEvent) -> Receipt:
        """Send one event through any process; one that is gone or cannot keep it is passed over for the next."""
        request = asked_to_track(event)
        trouble: EventmwError | None = None
        for path in _shuffled(self._sockets()):
            try:
                return receipt_of(next(ask(path, request, self._timeout_s)))
            except Unanswered as error:
                if not error.gone:
                    raise JournalDown(f"{error}; the event may have been kept all the same") from None
            except (JournalFull, JournalDown) as error:
                trouble = error
        raise trouble or self._nobody()

    def _ask_all(self, question: Callable[[Path], Json]) -> list[tuple[Path, list[Any]]]:
        """Return what each process answers. A tool that only some of them know is a matter of those.

        Raises:
            LookupError: none of them knows the tool.
            JournalDown: none of them answers.
        """
        answers: list[tuple[Path, list[Any]]] = []
        unknown: LookupError | None = None
        for path in self._sockets():
            try:
                answers.append((path, list(ask(path, question(path), self._timeout_s))))
            except LookupError as error:
                unknown = error
            except Unanswered as error:
                self._notes += [] if error.gone else [str(error)]
        if not answers:
            raise self._unanswered(unknown)
        return answers

    def _unanswered(self, unknown: LookupError | None) -> Exception:
        """Return why there is no answer of anybody."""
        return unknown or (JournalDown(". ".join(self._notes)) if self._notes else self._nobody())

    def _sockets(self) -> list[Path]:
        self._notes.clear()
        try:
            paths = found(folder_of(self._data_dir))
        except PermissionError:
            raise NotAllowed(belongs_to_another(self._data_dir)) from None
        if not paths:
            raise self._nobody()
        return paths

    def _nobody(self) -> NobodyLive:
        inside = self._data_dir / "eventmw-data"
        hint = f" {inside} may be meant." if inside.is_dir() else ""
        return NobodyLive(
            f"{self._data_dir} has no events: no site has kept any there, and none that runs keeps its events in memory "
            f"there. The site's data_dir may be another folder.{hint}"
        )


def receipt_of(told: dict[str, Any]) -> Receipt:
    """Return the receipt that `Operations` tells as JSON values; a newer process may tell more than is known here."""
    known: dict[str, Any] = {spec.name: told[spec.name] for spec in dataclasses.fields(Receipt) if spec.name in told}
    known["warnings"] = tuple(known["warnings"])
    return Receipt(**known)


def asked_to_track(event: OwnEvent) -> Json:
    """Return the request for `Operations` that sends an event. An older process refuses one for a project."""
    if event.project is None:
        return {"op": "track", "body": event.body.decode()}
    parts = {"project": event.project, "id": event.id, "sender": dict(event.sender)}
    return {"op": "track_project", "body": event.body.decode(), **parts}


def _recorded(event: Json) -> str:
    return cast(str, event["recorded"])


def _shuffled(paths: Iterable[Path]) -> list[Path]:
    mixed = list(paths)
    random.shuffle(mixed)  # spread over the processes; not a secret
    return mixed


def belongs_to_another(folder: Path) -> str:
    """Return the sentence for who may not enter a data directory."""
    try:
        owner = folder.owner()
    except (KeyError, OSError):
        owner = "another user"
    return f"{folder} belongs to {owner}. Run the command as the user that the site runs as: sudo -u {owner} …"
