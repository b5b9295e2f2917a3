"""The engine: events out of records, and what each tool wants done for each event.

Layer: assembly, pure. It runs at the door for tools that answer and in the courier for all, with the same outcome: an event
is a function of its record, and a tool is a function of an event.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from types import AsyncGeneratorType, CoroutineType, GeneratorType, NoneType
from typing import Final, NamedTuple, Protocol, cast, get_args

from eventmw import record as records
from eventmw.contract import BoundTool, check_alone, pack_singly
from eventmw.effects import Call, Drop, Effect, Execute, Fetch, Packed, Return, Send, SetCookie, Verdict, Write
from eventmw.errors import Misuse
from eventmw.event import Event, Record
from eventmw.http import HttpRequest
from eventmw.outcome import OutcomeKind
from eventmw.results import EMPTY, Result, Unfit
from eventmw.tracebacks import definition, yield_place

log = logging.getLogger("eventmw.engine")

MAX_EFFECTS: Final = 100
"""Effects of one tool for one event; more is a tool that floods."""

MAX_REPORTS: Final = 100
"""Kinds of trouble that are logged."""

_ANSWERS: Final = (Fetch, Execute, Return, SetCookie)
_EFFECTS: Final = get_args(Effect)  # a tuple is asked several times faster than the union


class Reader(Protocol):
    """A dialect as the engine sees it: how its records become events."""

    name: str

    def events(self, record: Record) -> Iterator[Event | records.Erased]:
        """Return the record's events one by one, in order; `ERASED` in the place of one that was erased."""
        ...

    def single(self, record: Record, ordinal: int) -> Record:
        """Return a record that holds just one of the events."""
        ...


class Flood(Misuse):
    """A tool yielded more than `MAX_EFFECTS` effects for one event."""


class Dispatch(NamedTuple):
    """What one tool wants for one event: sends, or the Outcome at once when there is nothing to send."""

    sends: tuple[Send, ...]
    outcome: OutcomeKind | None = None
    reason: str = ""


NOT_FOR_IT: Final = Dispatch((), "filtered", "when")
"""The tool's ``when`` did not match: it was not handed the event at all."""


class Engine:
    """The tools and the dialects, put together. It keeps nothing but what it has logged.

    Args:
        tools: in the configured order, which is the order of effects in a Result Object.
        readers: the dialects that records may be of.
        on_trouble: told of a tool that fails at the door, each time: its id, and what it did, without values.
    """

    def __init__(
        self,
        tools: Sequence[BoundTool],
        readers: Iterable[Reader],
        on_trouble: Callable[[str, str], None] | None = None,
    ) -> None:
        self.tools = tuple(tools)
        self.answering = tuple(tool for tool in tools if tool.answers)
        self._on_trouble = on_trouble
        self._reported: set[tuple[str, str]] = set()
        self._readers: Mapping[str, Reader] = {reader.name: reader for reader in readers}

    def events(self, record: bytes) -> Iterator[Event | records.Erased]:
        """Return the events of a journal record, made one at a time; `ERASED` in the place of one that was erased.

        Raises:
            UnreadableRecord: the bytes are damaged, or of a dialect that is not configured.
        """
        decoded = records.decode(record)
        return self._reader(decoded).events(decoded)

    def single(self, record: bytes, ordinal: int) -> bytes:
        """Return a journal record that holds just the event at `ordinal`: what is parked and buried."""
        decoded = records.decode(record)
        return records.encode(self._reader(decoded).single(decoded, ordinal))

    def credential(self, record: bytes) -> str:
        """Return the name of the key with which the record was sent, or ``anonymous``."""
        return records.decode(record).credential

    def _reader(self, record: Record) -> Reader:
        try:
            return self._readers[record.dialect]
        except KeyError:
            raise records.UnreadableRecord(f"no dialect named {record.dialect} is configured") from None

    def dispatch(self, tool: BoundTool, event: Event) -> Dispatch:
        """Run one tool on one event for the courier. Never raises: a tool that does ends in ``tool_error``."""
        what = "when"
        try:
            if tool.matches is not None and not tool.matches(event):
                return NOT_FOR_IT
            what = "handle"
            return _dispatched(_effects(tool, event), event.id)
        except Exception as error:  # noqa: BLE001 - a tool harms only itself
            return Dispatch((), "tool_error", tool.troubles.note(what, error, tool.written))

    def answer(self, event: Event, over_budget: Callable[[], bool]) -> bytes:
        """Run the answering tools on one event and return its Result Object as JSON.

        A tool that raises, floods, or wants what cannot be answered adds nothing; the others do. Once `over_budget` says
        so, the remaining tools are passed over.
        """
        result: Result | None = None
        for tool in self.answering:
            if over_budget():
                self._report(tool, "the time for answering was up before its turn")
                break
            wanted = self._wanted(tool, event)
            if wanted:
                result = result or Result()
                self._merge(result, tool, wanted)
        return EMPTY if result is None else result.encode()

    def _wanted(self, tool: BoundTool, event: Event) -> Sequence[Effect]:
        what = "when"
        try:
            if tool.matches is not None and not tool.matches(event):
                return ()
            what = "handle"
            effects = _effects(tool, event)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a tool harms only itself, also one that calls sys.exit
            self._note(tool, what, error)
            return ()
        return [effect for effect in effects if isinstance(effect, _ANSWERS)]

    def _merge(self, result: Result, tool: BoundTool, effects: Iterable[Effect]) -> None:
        for effect in effects:
            try:
                result.add(tool.id, effect)
            except Unfit as error:
                self._report(tool, f"wants what cannot be answered: {error}")
            except Exception as error:  # noqa: BLE001 - what is in an effect may be an object that does anything
                self._note(tool, "an effect", error)

    def _note(self, tool: BoundTool, what: str, error: BaseException) -> None:
        words = tool.troubles.note(what, error, tool.written, where=", in the request")
        if self._on_trouble is not None:
            self._on_trouble(tool.id, words)

    def _report(self, tool: BoundTool, words: str) -> None:
        """Log a kind of trouble at the door once: a tool that fails at every event must not fill the disk."""
        if self._on_trouble is not None:
            self._on_trouble(tool.id, words)
        if (tool.id, words) not in self._reported and len(self._reported) < MAX_REPORTS:
            self._reported.add((tool.id, words))
            log.warning("tool %s, in the request: %s", tool.id, words)

    def decisions(self, event: Event) -> dict[str, str]:
        """Return, for each tool, what the door knows: ``queued``, or ``filtered`` by its ``when``."""
        return {tool.id: _decision(tool, event) for tool in self.tools}


def effects_of(tool: BoundTool, event: Event) -> list[Effect] | None:
    """Return what a tool wants for an event, or None when its ``when`` does not match.

    Raises:
        Flood: it wants too much.
        Misuse: it yielded what is no effect, or what it does not say it would.
        Exception: whatever the tool raised.
    """
    if tool.matches is not None and not tool.matches(event):
        return None
    return _effects(tool, event)


def _effects(tool: BoundTool, event: Event) -> list[Effect]:
    wanted: object = tool.handle(event)
    effects: list[Effect] = []
    for effect in _each(tool, wanted):
        try:
            _check_effect(tool, effect)
        except Misuse as slip:
            raise _placed(slip, tool, wanted, len(effects) + 1) from None
        effects.append(effect)
        if len(effects) > MAX_EFFECTS:
            raise Flood(f"wants more than {MAX_EFFECTS} things for one event", definition(tool.written))
    return effects


def _each(tool: BoundTool, wanted: object) -> Iterable[Effect]:
    """Return what ``handle`` gave as an iterable of what should be effects.

    Raises:
        Misuse: it gave something that is none, and that iterating would only hide.
    """
    if isinstance(wanted, list | tuple):
        return cast(Iterable[Effect], wanted)
    if inspect.isgenerator(wanted):
        return _to_its_end(tool, cast("Generator[Effect, None, object]", wanted))
    if wanted is None:
        return ()
    if isinstance(wanted, _EFFECTS):
        return (cast(Effect, wanted),)
    if not _is_many(wanted):
        if inspect.iscoroutine(wanted):
            wanted.close()  # else Python warns that nobody awaited it
        message = f"returned {_kind(wanted)} where effects were expected, such as Send or Drop: {_advice(wanted)}"
        raise Misuse(message, definition(tool.written))
    return cast(Iterable[Effect], wanted)


def _is_many(wanted: object) -> bool:
    return isinstance(wanted, Iterable) and not isinstance(wanted, str | bytes | bytearray | Mapping)


def _to_its_end(tool: BoundTool, wanted: Generator[Effect, None, object]) -> Iterator[Effect]:
    returned = yield from wanted
    if returned is not None:
        message = f"returned {_kind(returned)} after a yield, which Python throws away: yield it instead"
        raise Misuse(message, definition(tool.written))


def _placed(slip: Misuse, tool: BoundTool, wanted: object, number: int) -> Misuse:
    """Return the misuse with the owner's line: that of the ``yield``, or of the function that returned a list."""
    if inspect.isgenerator(wanted):
        return Misuse(f"yielded {slip}", yield_place(wanted, tool.written))
    if isinstance(wanted, list | tuple | set | frozenset):
        kind = type(cast(object, wanted)).__name__
        whole = f"returned a {kind} whose item {number} is "
        return Misuse(f"{whole}{slip}", definition(tool.written))
    return Misuse(f"returned {slip}", definition(tool.written))


def _check_effect(tool: BoundTool, effect: object) -> None:
    if isinstance(effect, Send):
        if tool.pack is pack_singly:
            check_alone(effect)
    elif not isinstance(effect, _EFFECTS):
        raise Misuse(f"{_kind(effect)} where an effect was expected, such as Send or Drop: {_advice(effect)}")
    elif isinstance(effect, _ANSWERS) and not tool.answers:
        raise Misuse(
            f"{type(effect).__name__}, but the tool does not have answers = True, with which it runs in the request"
        )


def _kind(given: object) -> str:
    """Return the kind of what was given, never its value."""
    return f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__


_PLAIN_DEF: Final = "nothing awaits it: handle is a plain def, and what has to wait belongs in a consumer"
_REQUESTS: Final = "send a request with Send(HttpRequest(…)), or leave the event out with Drop(reason)"
_ADVICE: Final[Sequence[tuple[tuple[type, ...], str]]] = (
    ((HttpRequest,), "wrap it: Send(HttpRequest(…))"),
    ((Write, Call), "wrap it: Send(…)"),
    ((Packed,), "pack() makes those of what handle sends; yield Send(…) here"),
    ((Verdict,), "verdict() returns those; to leave an event out, yield Drop(reason)"),
    ((CoroutineType, AsyncGeneratorType), _PLAIN_DEF),
    ((NoneType,), "leave it out, or yield Drop(reason)"),
    ((list, tuple, set, frozenset, GeneratorType), "yield its members one by one, with yield from"),
    ((object,), _REQUESTS),
)


def _advice(given: object) -> str:
    """Return what to write instead."""
    if isinstance(given, type):
        return f"write {given.__name__}(…), with its arguments"
    return next(advice for kinds, advice in _ADVICE if isinstance(given, kinds))


def _dispatched(effects: Sequence[Effect], event_id: str) -> Dispatch:
    sends = tuple([Send(effect.payload, event_id, effect.size) for effect in effects if isinstance(effect, Send)])
    if sends:
        return Dispatch(sends)
    drop = next((effect for effect in effects if isinstance(effect, Drop)), None)
    if drop is not None:
        return Dispatch((), "dropped", str(drop.reason)[:200])
    return Dispatch((), "answered" if effects else "filtered", "" if effects else "nothing wanted")


def _decision(tool: BoundTool, event: Event) -> str:
    try:
        return "queued" if tool.matches is None or tool.matches(event) else "filtered"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - as above
        tool.troubles.note("when", error, where=", in the request")
        return "tool_error"
