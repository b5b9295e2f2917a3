"""What can go wrong, by name: the exceptions an owner may meet and the problems a sender may get.

Layer: vocabulary (standard library only).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from traceback import walk_tb
from typing import Final


class EventmwError(Exception):
    """Base of every exception that eventmw raises on purpose."""


class ConfigError(EventmwError):
    """The configuration cannot work. Raised at start, never after it, with all problems at once.

    Attributes:
        problems: one sentence for each problem: what was expected, what came, what to do.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__("\n".join(("eventmw cannot start:", *(f"  - {problem}" for problem in self.problems))))


class Misuse(EventmwError, TypeError):  # noqa: N818 - what it is
    """A tool's code hands over what its contract does not allow. The message says what, and holds no values.

    Attributes:
        place: the owner's file, line and function, when they are not in the traceback.
    """

    def __init__(self, message: str, place: object = None) -> None:
        super().__init__(message)
        self.place = str(place or "")

    def __str__(self) -> str:
        """Return the message, with the place behind it."""
        return super().__str__() + (f" ({self.place})" if self.place else "")


class Reject(EventmwError):  # noqa: N818 - raised as a sentence: raise Reject("no such customer")
    """Raise it in a consumer to give an event up: it becomes a dead letter, Outcome ``rejected``, with this reason.

    Args:
        reason: why, in a few words; shown in ``stats``, in the log and with the dead letter as it is.
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = str(reason) or "the consumer gave it up"
        super().__init__(self.reason)


class RetryAfter(EventmwError):  # noqa: N818 - as above: raise RetryAfter(60)
    """Raise it in a consumer to get this event again after a time, while other events go on.

    Args:
        seconds: how long to wait, a number or a `datetime.timedelta`; from a tenth of a second to an hour is respected.
        reason: why, in a few words; shown as it is.

    Raises:
        Misuse: `seconds` is no length of time.
    """

    def __init__(self, seconds: float | timedelta, reason: str = "") -> None:
        given: object = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < float("inf"):
            kind = type(seconds).__name__ if not isinstance(given, int | float) else "a negative or endless time"
            raise Misuse(f"made RetryAfter of {kind}: write the seconds to wait, such as RetryAfter(60)")
        self.seconds = float(given)
        self.reason = str(reason) or "the consumer asked to be called again later"
        super().__init__(self.reason)


class TookTooLong(BaseException):
    """Raised in a tool's code that does not give the courier's thread back; ``except Exception`` does not stop it."""


class InvalidEvent(EventmwError, ValueError):  # noqa: N818 - reads as what it is
    """The event given to `track` is not valid; the message says what was expected where."""


class NoSite(EventmwError, LookupError):  # noqa: N818 - the name of the condition
    """`eventmw.track` found no wrapped site in this process, or several; the message says what to do."""


class JournalFull(EventmwError):  # noqa: N818 - the name of the condition, as JOURNAL.md gives it
    """The journal has reached its byte cap and takes nothing more until tools have delivered. Becomes ``503``."""

    def __init__(self, message: str, *, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class JournalDown(EventmwError):  # noqa: N818 - as above
    """The journal cannot write now: a disk, a broker or its process is away. Becomes ``503``."""

    def __init__(self, message: str, *, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with, or worth saying about, one place of a payload.

    ``path`` and ``schema_path`` are JSON Pointers (RFC 6901) from the document's and the schema's root. ``message`` says
    what was expected and what kind came, never the value. ``index`` is the event's place in the batch, or None.
    """

    index: int | None
    path: str
    schema_path: str
    code: str
    message: str

    def as_json(self) -> dict[str, str | int]:
        """Return the fault as it stands in an answer: ``index`` only when there is one."""
        body: dict[str, str | int] = {} if self.index is None else {"index": self.index}
        return body | {
            "path": self.path,
            "schema_path": self.schema_path,
            "code": self.code,
            "message": self.message,
        }


# The closed list of problem codes: code → (status, title). Source: PROTOCOLS.md 2.3; the codes' names are ours.
PROBLEMS: Final[Mapping[str, tuple[int, str]]] = {
    "invalid_json": (400, "The body is not valid JSON"),
    "invalid_body": (400, "The body is not what this call expects"),
    "invalid_envelope": (400, "The body is not an object with an array of events"),
    "no_valid_event": (400, "None of the events is valid"),
    "rejected_events": (400, "Some of the events are not valid"),
    "ambiguous_length": (400, "Both Content-Length and Transfer-Encoding were sent"),
    "invalid_length": (400, "Content-Length is not a number"),
    "invalid_encoding": (400, "The compressed body is damaged"),
    "invalid_idempotency_key": (400, "The Idempotency-Key cannot be used"),
    "number_too_large": (400, "A number is too large to be kept exactly"),
    "incomplete_body": (400, "The body ended before its announced length"),
    "unauthorized": (401, "A valid key is needed"),
    "cross_site": (403, "This browser origin is not allowed"),
    "unknown_id": (404, "There is no such project or key"),
    "method_not_allowed": (405, "Only POST is answered here"),
    "body_timeout": (408, "The body came too slowly"),
    "client_gone": (408, "The sender left before the body ended"),
    "length_required": (411, "The length of the body is needed"),
    "too_many_projects": (409, "The account has as many projects as it may"),
    "body_too_large": (413, "The body is too large"),
    "too_many_events": (413, "There are too many events in one request"),
    "too_deep": (413, "The body is nested too deeply"),
    "unsupported_encoding": (415, "This Content-Encoding is not understood"),
    "rate_limited": (429, "Too many requests"),
    "invalid_query": (400, "The query cannot be understood"),
    "query_too_large": (400, "The query asks for more than is answered at once"),
    "internal_error": (500, "Something went wrong here"),
    "overloaded": (503, "Too many requests at once"),
    "keys_down": (503, "Keys cannot be looked up or changed now"),
    "archive_down": (503, "The archive cannot be asked now"),
    "query_timeout": (503, "The query took too long"),
    "journal_full": (503, "No room to keep events now"),
    "journal_down": (503, "Events cannot be kept now"),
    "journal_timeout": (503, "Keeping the events took too long"),
    "call_timeout": (503, "The answer took too long"),
}


class Refused(EventmwError):  # noqa: N818 - a refusal is an answer, not a fault of the program
    """A request is refused as a whole; the dialect turns this into its own error body.

    Attributes:
        code: a key of `PROBLEMS`, which gives the status and the title.
        detail: one sentence for the sender, without the values that were sent.
        faults: what was wrong where; at most 100 are shown.
        omitted: how many more faults there were.
        events: how many events the request held, all of them refused with it; 0 when nobody knows.
        headers: header fields the status demands (``Allow``, ``Retry-After``, …).
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        faults: tuple[Fault, ...] = (),
        omitted: int = 0,
        events: int = 0,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.status, self.title = PROBLEMS[code]
        self.detail = detail
        self.faults = faults
        self.omitted = omitted
        self.events = events
        self.headers = headers


_OWN: Final = str(Path(__file__).parent / "_")[:-1]  # with the separator: eventmw_site is not eventmw


def told(error: BaseException) -> str:
    """Return what somebody's code did wrong: the kind of the exception and the file and line, in one phrase.

    Only our own messages are repeated: any other may hold values of an event or a secret. `eventmw.tracebacks` shows more,
    as its setting allows.
    """
    if isinstance(error, Misuse):
        return str(error)
    if isinstance(error, ConfigError):
        return "; ".join(error.problems)
    places = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    # The first place outside this package is the line that its owner wrote; further in are the libraries it called.
    file, line = next((place for place in places if not place[0].startswith(_OWN)), (places or [("", 0)])[-1])
    return f"raised {type(error).__name__}" + (f" ({Path(file).name}:{line})" if file else "")
