"""The ledger: all that the leader keeps of tools, and the changes that it is made of.

A change is a plain list that says what becomes so, never what to do: carried out twice it is the same. What is written to
the disk are these lists, one after another behind a snapshot; so what is read back is what was in memory.

Layer: pure rules.
Source: JOURNAL.md «State».
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from eventmw.journal import Commit, Position
from eventmw.journal.files.frames import NOTHING, Total
from eventmw.journal.files.places import (
    Facts,
    ToolPlace,
    counts_as_list,
    counts_of,
    key_as_list,
    key_of,
    parked_as_list,
    parked_of,
    run_of,
    settle_run,
)

_COMMIT: Final = "commit"
_PLACE: Final = "place"
_STREAM: Final = "stream"
_DONE: Final = "done"
_MOST_DONE: Final = 256
"""Commands whose results are remembered: a leader that died between carrying one out and saying so does it once."""

_NOTE: Final = "note "
"""What the names of notes begin with among commands, which have no blank: versions before notes pass them on as well."""

Change = list[Any]


@dataclass(slots=True)
class Ledger:
    """The state of all tools.

    Attributes:
        number: counts the changes; a dead letter carries the number of the change that buried it.
        tools: id → place.
        gone: what streams held that are retired whole.
        done: command → what came of it.
    """

    number: int = 0
    tools: dict[str, ToolPlace] = field(default_factory=dict[str, ToolPlace])
    gone: Total = NOTHING
    done: dict[str, Any] = field(default_factory=dict[str, Any])

    def snapshot(self) -> Change:
        """Return the whole as a plain list, for `restored`."""
        return [
            self.number,
            {tool: place.encoded() for tool, place in self.tools.items()},
            list(self.gone),
            self.done,
        ]

    @classmethod
    def restored(cls, plain: Sequence[Any]) -> Ledger:
        """Return the ledger of a snapshot."""
        number, tools, gone, done = plain
        return cls(number, {tool: ToolPlace.decoded(place) for tool, place in tools.items()}, Total(*gone), dict(done))

    def apply(self, change: Change) -> None:
        """Carry out a change."""
        number, kind, *what = change
        match kind:
            case "commit":
                self._commit(*what)
            case "place":
                self._place(*what)
            case "stream":
                self._retire(*what)
            case _:
                self._note(*what)
        self.number = number

    def commit(self, tool: str, step: Commit, fresh: Mapping[Position, tuple[Facts, set[int]]], dead: int) -> Change:
        """Return the change that carries out a tool's step; `dead` is how many dead letters it has then."""
        runs = [[position.stream, run_of(position.seq, facts, held)] for position, (facts, held) in fresh.items()]
        return [
            self.number + 1,
            _COMMIT,
            tool,
            runs,
            [
                [parked_as_list(item) for item in step.park],
                [key_as_list(key) for key in (*step.unpark, *(letter.key for letter in step.dead))],
            ],
            counts_as_list(step.counts),
            dead,
        ]

    def count(self, tool: str, counts: Mapping[tuple[str, str], int], dead: int) -> Change:
        """Return the change that only counts."""
        return [self.number + 1, _COMMIT, tool, [], [[], []], counts_as_list(counts), dead]

    def place(self, tool: str, place: ToolPlace | None, command: str = "", result: Any = None) -> Change:
        """Return the change after which a tool stands just so; None: it is known no more."""
        return [self.number + 1, _PLACE, tool, None if place is None else place.encoded(), command, result]

    def retired(self, sid: str, end: Total) -> Change:
        """Return the change after which a stream is gone."""
        return [self.number + 1, _STREAM, sid, list(end)]

    def answered(self, command: str, result: Any) -> Change:
        """Return the change after which a command is done."""
        return [self.number + 1, _DONE, command, result]

    def note(self, name: str, text: str) -> Change:
        """Return the change after which a text is noted."""
        return self.answered(f"{_NOTE}{name}", text)

    def noted(self, name: str) -> str | None:
        """Return the text that was noted under a name."""
        text = self.done.get(f"{_NOTE}{name}")
        return text if isinstance(text, str) else None

    def _commit(self, tool: str, runs: Iterable[Any], parking: Sequence[Any], counts: Sequence[Any], dead: int) -> None:
        place = self.tools.get(tool)
        if place is None:
            return
        park, unpark = parking
        for sid, run in runs:
            settle_run(place.reach(sid), run)
        for key in unpark:
            place.parking.take(key_of(key))
        for item in park:
            place.parking.put(parked_of(item))
        place.counts.update(counts_of(counts))
        place.dead = dead

    def _place(self, tool: str, plain: Sequence[Any] | None, command: str, result: Any) -> None:
        if plain is None:
            self.tools.pop(tool, None)
        else:
            moved = tool in self.tools
            self.tools[tool] = ToolPlace.decoded(plain)
            self.tools[tool].moved = moved
        if command:
            self._note(command, result)

    def _retire(self, sid: str, end: Sequence[int]) -> None:
        self.gone = Total(*(one + other for one, other in zip(self.gone, end, strict=True)))
        for place in self.tools.values():
            place.reaches.pop(sid, None)

    def _note(self, command: str, result: Any) -> None:
        self.done.pop(command, None)  # what is noted again and again must not become the oldest
        self.done[command] = result
        while len(self.done) > _MOST_DONE:
            del self.done[next(iter(self.done))]
