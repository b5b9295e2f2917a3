"""What a test asks of its site: the events that were sent, refused and given up, and texts that explain a failure.

Layer: input and output. Values in the texts are the test's own events; addresses, header fields and bodies of requests,
which hold secrets, are in none of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar, cast

from eventmw import strictjson
from eventmw.effects import Effect
from eventmw.errors import Fault
from eventmw.event import Event, Receipt
from eventmw.http import HttpRequest
from eventmw.outcome import Outcome

T = TypeVar("T")

_MAX_SHORT: Final = 200
"""Characters of a one-line explanation. Source: pytest cuts a representation at 240."""

_MAX_VALUE: Final = 120
_MAX_LISTED: Final = 20
_ABSENT: Final = "(absent)"


class PerTool(Mapping[str, T]):
    """A value for each tool of a site, by the tool's id, worked out when it is asked for.

    Args:
        ids: the tools.
        make: returns the value of one tool.
    """

    def __init__(self, ids: Sequence[str], make: Callable[[str], T]) -> None:
        self._ids = ids
        self._make = make

    def __getitem__(self, tool: str) -> T:
        """Return the value of a tool.

        Raises:
            UnknownTool: the site has no tool of this id.
            Exception: what the tool raised.
        """
        if tool not in self._ids:
            raise UnknownTool(tool, self._ids)
        return self._make(tool)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the tools' ids."""
        return iter(self._ids)

    def __len__(self) -> int:
        """Return how many tools there are."""
        return len(self._ids)

    def __repr__(self) -> str:
        return f"<for each of the tools {', '.join(self._ids) or '(none)'}>"


class UnknownTool(KeyError, LookupError):  # noqa: N818 - the name of the condition
    """A test names a tool that no site has."""

    def __init__(self, tool: str, known: Iterable[str]) -> None:
        super().__init__(f"no tool has the id {tool!r}; the tools are: {', '.join(sorted(known)) or '(none)'}")

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError shows the representation


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SentEvent(Event):
    """An event that a site accepted in a test, as tools get it, with what becomes of it.

    Attributes:
        receipt: what the sender was told of it.
        requests: tool → the requests that its vendor gets for this event alone, whether or not they were delivered yet.
            A tool that raises, raises here.
        effects: tool → everything that the tool wants for this event; empty when its ``when`` does not match.
        outcomes: tool → how the event ended there; a tool that has not finished with it is not in it.
    """

    receipt: Receipt
    requests: Mapping[str, Sequence[HttpRequest]]
    effects: Mapping[str, Sequence[Effect]]
    find_outcomes: Callable[[], Mapping[str, Outcome]] = field(default=dict[str, Outcome])

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """How the event ended, by the tools' ids."""
        return self.find_outcomes()

    @property
    def timestamp(self) -> datetime:
        """When it happened, in UTC."""
        return datetime.fromtimestamp(self.timestamp_ms / 1000, UTC)

    def __repr__(self) -> str:
        return f"<event {described(self)}>"


def as_sent(event: Event, **more: Any) -> SentEvent:
    """Return an event with what becomes of it."""
    return SentEvent(**{each.name: getattr(event, each.name) for each in fields(Event)}, **more)


@dataclass(frozen=True, kw_only=True)
class RefusedEvent:
    """An event, or a whole request, that a site refused in a test.

    Attributes:
        name: the event's name, or None when the request could not be read so far.
        code: the problem's code, such as ``no_valid_event`` or ``unauthorized``.
        status: of the answer; 200 when other events of the request were accepted.
        reason: what was expected, where, and what kind came.
        where: the path of the API, or ``track``.
        index: the event's place in its request, or None when the request was refused before it was read.
        event: the event as it was sent, or None as above.
        faults: what was wrong with it, place by place.
    """

    name: str | None
    code: str
    status: int
    reason: str
    where: str
    index: int | None = None
    event: Any = field(default=None, repr=False)
    faults: Sequence[Fault] = ()


@dataclass(frozen=True, kw_only=True)
class DeadEvent:
    """An event that will not be tried again at a tool: a dead letter.

    Attributes:
        tool: the tool's id.
        event: the event.
        outcome: why, in one word: ``rejected``, ``tool_error``, ``expired`` or ``backlog_full``.
        reason: why, in a sentence.
        attempts: how often it was tried.
    """

    tool: str
    event: Event
    outcome: str
    reason: str
    attempts: int


class Explained(list[T], Generic[T]):
    """A list that says why it is empty.

    Args:
        items: what it holds.
        why: returns the explanation, in one line.
    """

    def __init__(self, items: Iterable[T], why: Callable[[], str]) -> None:
        super().__init__(items)
        self._why = why

    def __repr__(self) -> str:
        return super().__repr__() if self else f"<{self._why()}>"


def described(event: Event) -> str:
    """Return name, person and properties of an event on one line."""
    user = {} if event.user_id is None or "user_id" in event.properties else {"user_id": event.user_id}
    return " ".join(
        (repr(event.name), *(f"{key}={_value(value)}" for key, value in {**event.properties, **user}.items()))
    )


def _value(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 1]}…"


def refusal(refused: RefusedEvent) -> str:
    """Return a refused event on one line."""
    name = "a request" if refused.index is None else repr(refused.name) if refused.name else "an event without a name"
    return f"{name} by {refused.where}: {refused.code}, {refused.reason}"


def shortly(what: str, sent: Sequence[Event], refused: Sequence[RefusedEvent], elsewhere: str = "") -> str:
    """Return on one short line what is missing, what was sent instead, and what was refused and why."""
    names = ", ".join(dict.fromkeys(repr(event.name) for event in sent))
    parts = [what, f"sent: {names}" if names else "nothing was sent"]
    if refused:
        parts.append(f"refused: {refusal(refused[-1])}")
    if elsewhere:
        parts.append(elsewhere)
    line = "; ".join(parts)
    return line if len(line) <= _MAX_SHORT else f"{line[: _MAX_SHORT - 1]}…"


def listed(title: str, lines: Sequence[str]) -> list[str]:
    """Return a titled list of lines, its middle left out when it is long; nothing of an empty one."""
    if not lines:
        return []
    shown = list(lines)
    if len(shown) > _MAX_LISTED:
        half = _MAX_LISTED // 2
        shown[half:-half] = [f"… {len(shown) - 2 * half} more …"]
    return [f"{title} ({len(lines)}):", *(f"  {line}" for line in shown)]


def found(event: Event, key: str) -> object:
    """Return a property of an event; else the event's own attribute of that name, such as ``user_id``."""
    if key in event.properties or key not in _ATTRIBUTES:
        return event.properties.get(key, _ABSENT)
    return getattr(event, key)


_ATTRIBUTES: Final = frozenset(each.name for each in fields(Event)) - {"properties", "client", "system"}


def differences(event: Event, expected: Mapping[str, object]) -> list[str]:
    """Return each expected value that an event does not have, with what it has."""
    return [
        f"{key}: expected {_value(wanted)}, sent {got if got is _ABSENT else _value(got)}"
        for key, wanted in expected.items()
        if (got := found(event, key)) is _ABSENT or not _same(got, wanted)
    ]


def _same(got: object, wanted: object) -> bool:
    # 1 equals True in Python, and is another value in JSON.
    return got == wanted and isinstance(got, bool) == isinstance(wanted, bool)


def nearest(events: Sequence[SentEvent], expected: Mapping[str, object]) -> tuple[SentEvent, list[str]] | None:
    """Return the event with the fewest differences, the last of several, and its differences; None of no events."""
    told = [(event, differences(event, expected)) for event in reversed(events)]
    return min(told, key=lambda pair: len(pair[1]), default=None)


def compared(left: HttpRequest, right: HttpRequest) -> list[str]:
    """Return how two requests differ, without addresses, fields and bodies: they hold secrets."""
    lines = [f"{left!r} == {right!r}"]
    if left.method != right.method:
        lines.append(f"method: {left.method} != {right.method}")
    if left.url != right.url:
        lines.append("the addresses differ (not shown: they may hold secrets)")
    if left.headers != right.headers:
        names = sorted({name for name, _ in set(left.headers) ^ set(right.headers)})
        lines.append(f"header fields differ: {', '.join(names) or 'in their order'}")
    if left.body != right.body:
        lines.append(f"the bodies differ: {_first_difference(left.body, right.body)}; compare .json() of both")
    if left.at_send is not right.at_send:
        lines.append("at_send differs")
    return lines


def _first_difference(left: bytes, right: bytes) -> str:
    at = next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    return f"{len(left)} and {len(right)} bytes, the first difference at byte {at}"


def decoded(raw: bytes) -> Any:
    """Return the JSON value in these bytes, or None when they are not JSON."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def events_in(body: bytes) -> list[Any]:
    """Return the events of a body of either API, as far as it can be read."""
    document = decoded(body)
    whole = strictjson.object_in(document)
    events: Any = document if whole is None else whole.get("events", [whole])
    return list(events) if isinstance(cast(object, events), list) else []


def faults_of(judgement: Any, index: int) -> Sequence[Fault]:
    """Return what there is to say of one event, in the judgement of either API."""
    invalid = cast(object, judgement.invalid)
    if isinstance(invalid, Mapping):
        of_index = cast(Mapping[int, Sequence[Fault]], invalid)
        return tuple(of_index.get(index, ()))
    return [note.fault for note in judgement.notes if note.index == index and note.fault is not None]


def refused_event(
    event: Any, index: int | None, faults: Sequence[Fault], whole: tuple[str, int, str], where: str
) -> RefusedEvent:
    """Return a refused event with the words for it, or the code, status and detail with which the whole was refused."""
    code, status, detail = whole
    if faults and status == 200:  # noqa: PLR2004 - others of its request were accepted, so the event has the only words
        code = faults[0].code
    reason = "; ".join(f"{fault.path or 'the whole'}: {fault.message}" for fault in faults) or detail
    return RefusedEvent(
        name=_name_of(event),
        code=code,
        status=status,
        reason=reason,
        where=where,
        index=index,
        event=event,
        faults=tuple(faults),
    )


def _name_of(event: Any) -> str | None:
    whole = strictjson.object_in(event) or {}
    client = strictjson.object_in(whole.get("client"))
    name = whole.get("event_name") if client is None else client.get("__zarazTrack")
    return name if isinstance(name, str) else None
