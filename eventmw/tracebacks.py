"""Describe an exception of the owner's code: one line for ``stats`` and dead letters, the whole traceback for the log.

Exception texts can hold personal data and secrets, so the setting ``tracebacks`` decides how much is shown:

==========  =====================================================================================================
``masked``  frames and source lines; the text of kinds whose text comes from the interpreter, a database or a network
            library, or is a literal in the code; e-mail addresses, numbers, tokens, addresses' user info, path and
            query are masked, also in source lines
``full``    in the log the text of every exception, and its notes; what is kept with events stays masked
``off``     the exception's type and the line, and no traceback
==========  =====================================================================================================

What `eventmw.secret.reveal` gave out is masked in every mode. Frames of eventmw's own code are left out.

Layer: vocabulary (standard library only; it reads source lines through `linecache`, as Python's own tracebacks do).
"""

from __future__ import annotations

import dis
import inspect
import linecache
import logging
import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from traceback import walk_tb
from typing import Any, Final, Literal, NamedTuple, cast, get_args

from eventmw.errors import ConfigError, Misuse, Reject, RetryAfter
from eventmw.logs import printable
from eventmw.secret import without_secrets

log = logging.getLogger("eventmw.tool")

Tracebacks = Literal["masked", "full", "off"]
TRACEBACKS: Final = get_args(Tracebacks)

MAX_KINDS: Final = 100
"""Kinds of trouble of one tool that are told apart; more of them are not logged."""

_MASK: Final = "…"
_TEXT_CHARS: Final = 300
_FULL_CHARS: Final = 4000
_SOURCE_CHARS: Final = 160
_OUTER_FRAMES, _INNER_FRAMES = 4, 12
_CHAIN: Final = 5
"""Causes that are followed, and members of a group that are shown."""

_OWN: Final = str(Path(__file__).parent / "_")[:-1]  # with the separator: eventmw_site is not eventmw
_STDLIB: Final = str(Path(linecache.__file__).parent / "_")[:-1]


class Place(NamedTuple):
    """A line of code that was running."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line} in {self.function}"

    def source(self) -> str:
        """Return the line's text, masked; "" when there is no file to read it from."""
        text = linecache.getline(self.file, self.line).strip()
        return printable(_masked_source(text)[:_SOURCE_CHARS])


class _Frame(NamedTuple):
    place: Place
    code: Any
    at: int
    """The instruction that was running."""


class Troubles:
    """What one tool's code raised: described each time, logged once for each kind, which is a function, type and line.

    Later occurrences are counted, and the count is logged at the 10th, the 100th and so on. Not exact between threads.

    Args:
        tool: the tool's id; "" for a function that belongs to no tool.
        mode: how much is shown.
    """

    __slots__ = ("_counts", "mode", "tool")
    mode: Tracebacks

    def __init__(self, tool: str, mode: Tracebacks = "masked") -> None:
        self.tool = tool
        self.mode = mode
        self._counts: dict[tuple[object, ...], int] = {}

    def note(self, what: str, error: BaseException, function: object = None, *, where: str = "") -> str:
        """Log what was raised, if it is the first of its kind, and return it in one line, for ``stats`` and dead letters.

        Args:
            what: which of the tool's functions raised: ``handle``.
            error: the exception, with its traceback.
            function: where the tool's code begins, when no line of it is in the traceback.
            where: is put behind the tool's id in the log: ``, in the request``.
        """
        place = _place(error) or definition(function)
        words = f"{what} {describe(error, self.mode, function)}"
        # What is kept on the disk is masked in every mode: an erasure rewrites events, and not the reasons beside them.
        kept = words if self.mode != "full" else f"{what} {describe(error, 'masked', function)}"
        own = (str(error),) if isinstance(error, Misuse) else ()
        kind = (what, type(error), *(place[:2] if place else ()), *own)
        if kind not in self._counts and len(self._counts) >= MAX_KINDS:
            return kept
        seen = self._counts[kind] = self._counts.get(kind, 0) + 1
        if seen == 1:
            shown = (
                "" if self.mode == "off" or isinstance(error, Misuse | ConfigError) else format_lines(error, self.mode)
            )
            log.error("%s%s%s", self._named(where), words, shown and "\n" + shown)
        elif set(str(seen)[1:]) == {"0"} and str(seen)[0] == "1":
            log.error("%s%s; so far %s times", self._named(where), words, f"{seen:,}")
        return kept

    def _named(self, where: str) -> str:
        return f"tool {self.tool}{where}: " if self.tool else ""


def describe(error: BaseException, mode: Tracebacks = "masked", function: object = None) -> str:
    """Return in one line what an exception of somebody's code is and where it was raised.

    ``raised KeyError: 'vlaue' (bugs.py:4 in push: return rates[event.properties["vlaue"]])``. Our own messages hold no
    values and are repeated as they are.
    """
    place = _place(error) or definition(function) or _innermost(error)
    if isinstance(error, ConfigError):
        return "; ".join(error.problems)
    if isinstance(error, Reject | RetryAfter):
        return f"raised {_name(error)}, {_FOR_CONSUMERS}" + _in_brackets(place, with_source=mode != "off")
    if isinstance(error, Misuse):
        return str(error) + ("" if error.place or not place else f" ({place})")
    words = f"raised {_name(error)}"
    leaf = error
    while mode != "off" and (members := _members(leaf)):
        words += f" of {len(members)}, the first {_name(members[0])}"
        leaf = members[0]
        place = _place(leaf) or place
    text = "" if mode == "off" else text_of(leaf, mode).partition("\n")[0][:_TEXT_CHARS]
    return printable(words + (f": {text}" if text else "")) + _in_brackets(place, with_source=mode != "off")


_FOR_CONSUMERS: Final = (
    "which is for consumers: in a tool, handle yields Drop(reason), and verdict returns dead(reason) or "
    "retry(reason, after_s)"
)


def _in_brackets(place: Place | None, *, with_source: bool) -> str:
    if place is None:
        return ""
    source = place.source() if with_source else ""
    return f" ({place}: {source})" if source else f" ({place})"


def definition(function: object) -> Place | None:
    """Return where a function, or the ``handle`` of an object, is defined; None when that is not known."""
    code = _code_of(function)
    return None if code is None else Place(code.co_filename, code.co_firstlineno, code.co_name)


def _code_of(function: object) -> Any:
    for _ in range(10):  # a wrapper, a partial, a method, an object with __call__
        if isinstance(function, type):
            return None
        inner = getattr(function, "__wrapped__", None) or getattr(function, "func", None)
        inner = inner or getattr(function, "__func__", None)
        if inner is None:
            break
        function = inner
    called: Any = type(function).__call__ if callable(function) else None
    return getattr(function, "__code__", None) or getattr(called, "__code__", None)


def yield_place(generator: object, function: object) -> Place | None:
    """Return the line at which a generator waits; of anything else, where `function` is defined."""
    frame = getattr(generator, "gi_frame", None) if inspect.isgenerator(generator) else None
    if frame is None:
        return definition(function)
    return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def _place(error: BaseException) -> Place | None:
    """Return the innermost line that is neither ours nor a library's, else the outermost that is not ours."""
    frames = _frames(error)
    own = [frame for frame in frames if not _is_library(frame.place.file)]
    if own:
        return own[-1].place
    return frames[0].place if frames else None


def _innermost(error: BaseException) -> Place | None:
    """Return the last line of a traceback that has none but ours."""
    frames = [*walk_tb(error.__traceback__)]
    if not frames or isinstance(error, Misuse):
        return None
    frame, line = frames[-1]
    return Place(frame.f_code.co_filename, line, frame.f_code.co_name)


def _is_library(file: str) -> bool:
    return file.startswith((_STDLIB, "<frozen", "<string>")) or "site-packages" in file or "dist-packages" in file


def _frames(error: BaseException) -> list[_Frame]:
    """Return the frames of a traceback without ours, outermost first; of very many the first and the last ones."""
    outer: list[_Frame] = []
    inner: deque[_Frame] = deque(maxlen=_INNER_FRAMES)
    seen = 0
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith(_OWN):
            seen += 1
            place = Place(code.co_filename, trace.tb_lineno, code.co_name)
            (outer if seen <= _OUTER_FRAMES else inner).append(_Frame(place, code, trace.tb_lasti))
        trace = trace.tb_next
    return [*outer, *inner]


def format_lines(error: BaseException, mode: Tracebacks = "masked") -> str:
    """Return a traceback as Python writes it, its causes first, without frames of eventmw; never raises."""
    try:
        return without_secrets("\n".join(map(printable, _lines(error, mode, set(), ""))))
    except Exception as broken:  # noqa: BLE001 - an exception's own code may do anything
        return f"(its traceback cannot be shown: {type(broken).__name__})"


def _lines(error: BaseException, mode: Tracebacks, seen: set[int], indent: str) -> Iterator[str]:
    seen.add(id(error))
    cause, context = error.__cause__, None if error.__suppress_context__ else error.__context__
    before = cause or context
    if before is not None and id(before) not in seen and len(seen) < _CHAIN:
        yield from _lines(before, mode, seen, indent)
        how = "The above exception was the direct cause of the following exception:"
        yield from (
            "",
            indent + (how if cause else "During handling of the above exception, another exception occurred:"),
            "",
        )
    frames = _frames(error)
    if frames:
        yield f"{indent}Traceback (most recent call last):"
    for number, frame in enumerate(frames):
        place = frame.place
        if number == _OUTER_FRAMES and len(frames) == _OUTER_FRAMES + _INNER_FRAMES:
            yield f"{indent}  …"
        yield f'{indent}  File "{place.file}", line {place.line}, in {place.function}'
        if source := place.source():
            yield f"{indent}    {source}"
    yield from _last_lines(error, mode, indent)
    members = _members(error)
    for number, member in enumerate(members[:_CHAIN], 1):
        yield f"{indent}  - {number} of {len(members)}:"
        if id(member) not in seen:
            yield from _lines(member, mode, set(seen), indent + "    ")


def _members(error: object) -> Sequence[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return ()
    return cast("BaseExceptionGroup[BaseException]", error).exceptions


def _last_lines(error: BaseException, mode: Tracebacks, indent: str) -> Iterator[str]:
    name = _name(error, whole=True)
    text = text_of(error, mode)
    if not text:
        hidden = mode == "masked" and _safe_text(error)
        yield f"{indent}{name}" + (
            ': (its text may hold values of an event; tracebacks="full" shows it)' if hidden else ""
        )
        return
    first, *more = text.splitlines() or [""]
    yield f"{indent}{name}: {first}"
    yield from (f"{indent}  {line}" for line in more[:20])
    if mode == "full":
        notes: object = getattr(error, "__notes__", None)
        if isinstance(notes, list):
            yield from (f"{indent}  {note}" for note in cast(list[object], notes)[:_CHAIN] if isinstance(note, str))


def _name(error: BaseException, *, whole: bool = False) -> str:
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}" if whole and kind.__module__ != "builtins" else kind.__name__


def text_of(error: BaseException, mode: Tracebacks = "masked") -> str:
    """Return as much of an exception's text as may be shown; "" for none."""
    text = "" if mode == "off" else _safe_text(error)
    if mode == "full" or not text:
        return without_secrets(text)
    first = text.strip().partition("\n")[0]  # what follows are details: the statement, its parameters, the row
    kind = "shown" if _is_literal(error, text) else _kind(error)
    if kind == "unquoted":
        first = _QUOTED.sub(lambda found: found[1] + _MASK + found[1], first)
    return "" if kind == "hidden" else _masked(first)[:_TEXT_CHARS]


def _safe_text(error: BaseException) -> str:
    try:
        return str(error)[:_FULL_CHARS]
    except BaseException as broken:  # noqa: BLE001 - its __str__ is the owner's code as well
        return f"(its text cannot be made: {type(broken).__name__})"


def _is_literal(error: BaseException, text: str) -> bool:
    """Return whether the text, or what was looked for, is a literal of the code: then it holds no value of an event."""
    codes = [frame.f_code for frame, _ in walk_tb(error.__traceback__)]
    if codes and text in codes[-1].co_consts:
        return True
    wanted: object = None
    if isinstance(error, OSError):
        wanted = error.filename
    elif type(error) is KeyError and error.args:
        wanted = error.args[0]
    return isinstance(wanted, str) and any(wanted in code.co_consts for code in codes)


# What the interpreter writes into these are names of the code and of types, and the key or file that was looked for.
_INTERPRETER: Final[frozenset[type[BaseException]]] = frozenset(
    {
        *(ArithmeticError, AttributeError, BufferError, EOFError, FloatingPointError, IndentationError, IndexError),
        *(MemoryError, NameError, NotImplementedError, OverflowError, RecursionError, RuntimeError, StopIteration),
        *(
            SyntaxError,
            TabError,
            TypeError,
            UnboundLocalError,
            UnicodeDecodeError,
            UnicodeEncodeError,
            ZeroDivisionError,
        ),
    }
)
# Classes are known by name: drivers of databases keep those of PEP 249, and no driver and no client is imported here.
_SHOWN: Final = (
    "OperationalError ProgrammingError InterfaceError InternalError NotSupportedError DatabaseError ConnectError "
    "ConnectTimeout ReadTimeout WriteTimeout PoolTimeout ConnectionError URLError TimeoutError HTTPError HTTPStatusError "
    "ClientConnectorError ClientResponseError SSLError RemoteProtocolError ReadError ConnectionDoesNotExistError "
    "PoolClosed JSONDecodeError"
)
_UNQUOTED: Final = "IntegrityError DataError PostgresError MySQLError"
_BY_NAME: Final = dict.fromkeys(_SHOWN.split(), "shown") | dict.fromkeys(_UNQUOTED.split(), "unquoted")


def _kind(error: BaseException) -> str:
    """Return ``shown``, ``unquoted`` (what is in quotation marks may be a value) or ``hidden``."""
    if _raised_by_owner(error):
        return "hidden"
    if type(error) in _INTERPRETER:
        return "shown"
    if type(error) in {ValueError, KeyError}:
        return "unquoted"
    for kind in type(error).__mro__:
        if kind is not Exception and kind.__name__ in _BY_NAME:
            return _BY_NAME[kind.__name__]
    if isinstance(error, OSError):
        return "unquoted"
    return "shown" if isinstance(error, ImportError) else "hidden"


def _raised_by_owner(error: BaseException) -> bool:
    """Return whether it comes from a ``raise`` in the owner's code, whose text may hold anything."""
    frames = _frames(error)
    if not frames or _is_library(frames[-1].place.file):
        return False
    code: bytes = frames[-1].code.co_code
    at = frames[-1].at
    return 0 <= at < len(code) and dis.opname[code[at]] == "RAISE_VARARGS"


_QUOTED: Final = re.compile(r"""(['"])(?:\\.|(?!\1).)*\1""")
_ADDRESS: Final = re.compile(r"""([a-zA-Z][a-zA-Z0-9+.-]*)://(?:[^\s'"]*@)?([^\s/?#'",;)]*)[^\s'",;)]*""")
_QUERY: Final = re.compile(r"""\?[^\s'")]*=[^\s'")]*""")
_EMAIL: Final = re.compile(r"""[^\s@<>"'(),:;=…]+@[^\s@<>"'(),:;]+""")
_NAMED_SECRET: Final = re.compile(
    r"""(?i)(pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|credentials?|authorization|cookie|signature)"""
    r"""(['"]?\s*[=:]\s*['"]?)(?:(?:bearer|basic)\s+)?[^\s'",;)]+"""
)
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{6,}")
_TOKEN: Final = re.compile(r"(?=[A-Za-z_+=-]*[0-9])(?=[0-9_+=-]*[A-Za-z])[A-Za-z0-9_+=-]{16,}")
_IP: Final = re.compile(
    r"\b(?!127\.)(?:\d{1,3}\.){3}\d{1,3}\b|(?<![\w:])(?=[0-9a-fA-F:]*[0-9a-fA-F])(?:[0-9a-fA-F]{0,4}:){3,7}[0-9a-fA-F]{1,4}"
)
_LOOPBACK: Final = re.compile(r"\b127(?:\.\d{1,3}){3}\b")
# Digits that a person or an order can be found by: in one run, or in groups as phones and cards have them.
_NUMBER: Final = re.compile(
    r"(?i)(\b(?:port|errno|error|line|column|char|position|status|code|byte|bytes|argument)[ :=]+|localhost:|127[.\d]*:)?"
    r"(\+?\d(?:[ ().-]{0,2}\d){3,})"
)


def _masked(text: str) -> str:
    text = _IP.sub(_MASK, _without_tokens(text))
    return without_secrets(
        _NUMBER.sub(lambda found: found[0] if _is_harmless(found) else (found[1] or "") + _MASK, text)
    )


def _is_harmless(found: re.Match[str]) -> bool:
    return bool(_LOOPBACK.fullmatch(found[2])) or (found[1] is not None and found[2].isdigit() and len(found[2]) < 7)  # noqa: PLR2004


def _without_tokens(text: str) -> str:
    text = _ADDRESS.sub(_address, text)
    text = _QUERY.sub("?" + _MASK, text)
    text = _NAMED_SECRET.sub(lambda found: found[1] + found[2] + _MASK, text)
    text = _BEARER.sub(lambda found: f"{found[1]} {_MASK}", text)
    return _TOKEN.sub(_MASK, _EMAIL.sub(f"{_MASK}@{_MASK}", text))


def _address(found: re.Match[str]) -> str:
    """Return scheme and host alone: paths of web hooks are secrets, and queries hold what people typed."""
    return f"{found[1]}://{found[2]}" + ("" if found[0].endswith(found[2]) and found[2] else "/" + _MASK)


_STRING: Final = re.compile(r"""(["'])((?:\\.|(?!\1).)*)\1""")
_SECRET_NAME: Final = re.compile(
    r"""(?i)((?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|credentials?|authorization)\w*['"]?\s*[\]=:,(]\s*[a-z]{0,2})"""
    r"""(["'])(?:\\.|(?!\2).)*\2"""
)


def _masked_source(line: str) -> str:
    """Mask what is in a source line's string literals as texts are masked; numbers outside of them are code."""
    line = _SECRET_NAME.sub(lambda found: found[1] + found[2] + _MASK + found[2], line)
    return without_secrets(_STRING.sub(lambda found: found[1] + _masked(found[2]) + found[1], line))
