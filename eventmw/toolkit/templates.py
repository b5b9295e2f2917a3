r"""Templates: ``{{ client.value }}`` in a text, replaced by what an event holds at that path, encoded for its place.

A path is all that stands between the braces: names joined by dots, ``[0]`` for the places of a list, backticks around a
name with other characters: ``{{ system.device.`user-agent` }}``. It begins with ``client``, ``system``, ``extra`` (what
stood beside these in the sender's event) or ``event`` (``event.id``, ``event.name``, ``event.timestamp_ms``). There are no
calls, no attributes, no arithmetic. What was put in is never looked at again, so data cannot hold a template. A path that
leads nowhere gives the empty text.

Layer: pure rules. A template is compiled once, where the configuration is read, so that its mistakes show at the start.

Source: the braces, roots and backticks are those of Zaraz (https://developers.cloudflare.com/zaraz/custom-actions/
additional-fields/ and the context reference); the places and their encodings are ours.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

from eventmw.errors import ConfigError
from eventmw.event import Event
from eventmw.jsontext import encode, for_script, is_list, is_object

Place = Literal["text", "url", "path", "html", "js"]
"""Where the output stands: as it is; one component of a URL; a part of a URL's path; HTML text or a quoted attribute; a
JavaScript expression."""

ROOTS: Final = ("client", "system", "event", "extra")

_slot = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_step = re.compile(r"(?:^|(?!^)\.)(?:([A-Za-z_$][A-Za-z0-9_$]*)|([0-9]{1,9})(?=[.\[]|$)|`([^`]+)`)|\[([0-9]{1,9})\]")


@dataclass(frozen=True, slots=True)
class Path:
    """One ``{{ … }}``: the steps that lead to a value. Numbers are places in a list, or names of an object."""

    steps: tuple[str | int, ...]

    def find(self, data: Any) -> Any:
        """Return the value at this path, or "" when it leads nowhere."""
        for step in self.steps:
            data = _within(data, step)
        return data


def parse(text: str) -> tuple[str | Path, ...]:
    """Return the template's parts in order: texts as they are and paths.

    Raises:
        ConfigError: braces are left open, or hold something else than a path; all problems at once.
    """
    parts: list[str | Path] = []
    problems: list[str] = []
    for index, piece in enumerate(_slot.split(text)):
        if index % 2 == 0:
            parts.append(piece)
            if "{{" in piece:
                problems.append(f"a template has {{{{ without }}}} after it, at {_excerpt(piece[piece.index('{{') :])}")
            continue
        try:
            parts.append(_path(piece.strip()))
        except ValueError as error:
            problems.append(f"a template has {{{{ {_excerpt(piece.strip())} }}}}: {error}")
    if problems:
        raise ConfigError(problems)
    return tuple(part for part in parts if part != "")


def as_text(value: Any) -> str:
    """Return a JSON value as text: strings as they are, null as nothing, all else as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else encode(value).decode()


def data_of(event: Event) -> dict[str, Any]:
    """Return what templates reach: ``{"client", "system", "event": {"id", "name", "timestamp_ms"}, "extra"}``."""
    own = {"id": event.id, "name": event.name, "timestamp_ms": event.timestamp_ms}
    return {"client": event.client, "system": event.system, "event": own, "extra": event.extra}


def _path_part(text: str) -> str:
    """Return a text encoded for a path; a dot segment, which would go up in it, is left out: ``%2e%2e`` goes up as well."""
    return "" if text in {".", ".."} else quote(text, safe="")


_dropped = str.maketrans("\\", "/", "\t\n\r")
_leading: Final = "".join(map(chr, range(0x21)))
_of_host = re.compile(
    r"(?:(?:https?:)?//)(?:[\w-]+(?:\.[\w-]+)*\.?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?(/.*)?", re.DOTALL | re.IGNORECASE
).fullmatch
# A first part without a slash behind it could yet become a scheme: "java{{ client.x }}:…".
_of_site = re.compile(r"(?:/|(?:\.{1,2}/)+)\.*[^/.].*|\.*[^/.:][^/:]*/.*", re.DOTALL).fullmatch


def address_place(before: str) -> Literal["url", "path"] | None:
    """Return where data would stand in an address; None where they could choose its scheme, its host, or all of its path.

    They may stand behind ``https://host/``, or ``/x`` and ``x/`` of the page's own site, or behind a ``?`` or ``#``.

    Args:
        before: the address up to there, with any text in the places of earlier data.

    Source: URL Standard, 4.4 «basic URL parser»: blanks in front and tabs and line ends anywhere are dropped, and a
    backslash is a slash, so all of that is done first.
    """
    text = before.translate(_dropped).lstrip(_leading)
    part = re.split(r"[?#]", text, maxsplit=1)[0]
    in_query = part != text
    if found := _of_host(part):
        return "url" if in_query else "path" if found[1] else None
    if part.startswith("//") or ":" in part.partition("/")[0]:
        return None
    if in_query:
        return "url"
    return "path" if _of_site(part) else None


_ENCODERS: Final[Mapping[Place, Callable[[Any], str]]] = {
    "text": as_text,
    "url": lambda value: quote(as_text(value), safe=""),
    "path": lambda value: _path_part(as_text(value)),
    "html": lambda value: html.escape(as_text(value)),
    "js": for_script,
}


def encoded(value: Any, place: Place) -> str:
    """Return a JSON value as the text that can stand in a place."""
    return _ENCODERS[place](value)


class Template:
    """A compiled template.

    ``js`` gives a JSON value in which nothing can end the script around it, so ``f({{ client.x }})`` calls ``f`` with the
    value; there, a path that leads nowhere gives ``""``.

    Raises:
        ConfigError: at construction; see `parse`.
    """

    __slots__ = ("_encode", "parts")

    def __init__(self, text: str, place: Place) -> None:
        self.parts: Sequence[str | Path] = parse(text)
        self._encode = _ENCODERS[place]

    def render(self, event: Event) -> str:
        """Return the text with every path replaced by what the event holds there."""
        data = data_of(event)
        return "".join(part if isinstance(part, str) else self._encode(part.find(data)) for part in self.parts)


def _within(data: Any, step: str | int) -> Any:
    if is_object(data):
        return data.get(str(step), "")
    if is_list(data) and isinstance(step, int) and step < len(data):
        return data[step]
    return ""


def _path(text: str) -> Path:
    """Read one path.

    Raises:
        ValueError: it is not one; the message says what would be.
    """
    steps: list[str | int] = []
    end = 0
    while found := _step.match(text, end):
        name, number, quoted, place = found.groups()
        steps.append(name or quoted or int(number or place))
        end = found.end()
    if not steps or end != len(text):
        raise ValueError(
            "only paths are supported, such as client.value, client.products[0].name or client.`my-key`; "
            "names with other characters stand in backticks",
        )
    if steps[0] not in ROOTS:
        raise ValueError(f"a path begins with {', '.join(ROOTS[:-1])} or {ROOTS[-1]}")
    return Path(tuple(steps))


def _excerpt(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"  # noqa: PLR2004 - enough to find the place by
