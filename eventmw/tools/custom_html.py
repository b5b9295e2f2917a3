"""CustomHTML: HTML that the visitor's page gets, its scripts included.

The HTML is the owner's; what ``{{ client.x }}`` puts in is a stranger's. So each place is judged once, at the start:

* text and quoted attributes get the value with HTML's characters escaped;
* attributes that hold an address (``href``, ``src``, …) get it percent-encoded, behind a scheme and a host that are written
  out (``https://host/``), or a path of the page's own site (``/x``), or a ``?`` or ``#``: all else is refused, since data
  could choose the host, or run, as all of a ``javascript:`` address does;
* inside ``<script>`` a placeholder becomes an expression that reads the value from a variable. The data stay out of the
  program's text, whatever stands around the placeholder: ``f({{ client.x }})`` and ``f("{{ client.x }}")`` both work,
  the first with the JSON value, the second with its text. Inside a longer string it could become none, and is refused;
* all other places are refused: unquoted attributes, event handlers, ``style``, comments, names of tags, and attributes that
  say what an element may do (``sandbox``, ``type``, ``rel``, …).

Layer: pure rules. Nothing is sent from here: the code stands in the Result Object's ``execute``, and the page runs it.

Source: OWASP Cross Site Scripting Prevention Cheat Sheet for the places; DOM Parsing, createContextualFragment, which
makes scripts that run when they are inserted, other than innerHTML; HTML Standard for nonces. The behaviour follows the
Managed Component custom-html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, ClassVar, Final

from eventmw.contract import Delivery, When
from eventmw.effects import Execute
from eventmw.errors import ConfigError
from eventmw.event import Event
from eventmw.jsontext import for_script
from eventmw.toolkit.jsplaces import ProgramPlaces
from eventmw.toolkit.templates import Path, Place, address_place, as_text, data_of, encoded, parse

# The nonce is that of the script element in which the caller runs this code; scripts with an address keep their order.
_INSERT: Final = """\
(function(html, key, data) {
  var nonce = (document.currentScript || {}).nonce, body = document.body || document.documentElement;
  (window.__eventmw = window.__eventmw || {})[key] = data;
  var range = document.createRange();
  range.selectNode(body);
  var fragment = range.createContextualFragment(html);
  fragment.querySelectorAll("script").forEach(function(script) {
    if (nonce) script.nonce = nonce;
    if (script.src && !script.hasAttribute("async")) script.async = false;
  });
  body.appendChild(fragment);
})"""

# Source: HTML Standard, «Attributes»: those whose value is a URL; «Obsolete features» and SVG 2 for the others.
_ADDRESSES: Final = frozenset(
    {
        "action", "archive", "attributionsrc", "background", "cite", "classid", "codebase", "data", "dynsrc", "formaction",
        "href", "icon", "itemid", "itemtype", "longdesc", "lowsrc", "manifest", "ping", "poster", "profile", "src", "usemap",
    }
)  # fmt: skip
_ADDRESS_LISTS: Final = frozenset({"archive", "attributionsrc", "itemtype", "ping", "profile"})
"""Those of them that hold several addresses, with blanks between."""

_NO_DATA: Final = frozenset(
    {
        # CSS, HTML, and lists of addresses whose commas data could write.
        "clip-path", "cursor", "fill", "filter", "imagesrcset", "marker", "marker-end", "marker-mid", "marker-start", "mask",
        "srcdoc", "srcset", "stroke", "style",
        # What an element is and may do, where it goes, and what other attributes mean.
        "allow", "as", "attributename", "base", "credentialless", "crossorigin", "csp", "enctype",
        "form", "formenctype", "formmethod", "formtarget", "http-equiv", "integrity", "is", "language",
        "method", "nonce", "referrerpolicy", "rel", "sandbox", "shadowrootmode", "target", "type",
    }
)  # fmt: skip
_PROGRAM_ATTRIBUTES: Final = ("on", "@", ":", "x-", "v-", "hx-", "ng-", "data-hx-", "data-ng-", "data-bind")
"""How the names of attributes begin that browsers, or the common libraries for pages, run as programs."""

# Elements whose attributes choose where the page goes, or write other elements' attributes.
_NO_DATA_TAGS: Final = frozenset(
    {"animate", "animatecolor", "animatemotion", "animatetransform", "base", "meta", "param", "set"}
)
# Source: HTML Standard, «type» of script: the essence matches of JavaScript in use; all other types are data blocks.
_PROGRAMS: Final = frozenset({"", "text/javascript", "application/javascript", "module"})

_mark: Final = re.compile("eventmwslot([0-9]+)x")
_marks = _mark.findall
_opens_tag = re.compile(r"<[A-Za-z/!?]").search
_blanks = re.compile(r"[ \t\n\f\r]").split
_quoted_values = re.compile(r"""=\s*(?:"[^"]*"|'[^']*')""")

_DELIVERY: Final = Delivery()


class _Places(HTMLParser):
    """Finds where each mark stands: ``found[index]`` is "html", "url", "path" or "js"; one that is refused is absent.

    ``inside[index]`` says inside of what longer thing of a script, such as "a string", one stands. ``loose`` has those that
    stand in an address that they could change too much of.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: dict[int, Place] = {}
        self.inside: dict[int, str] = {}
        self.loose: set[int] = set()
        self._program = ProgramPlaces()
        self._inside: Place | None = "html"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            kind = (dict(attrs).get("type") or "").strip().lower()
            self._inside = "js" if kind in _PROGRAMS else None
            self._program = ProgramPlaces()
        elif tag == "style":
            self._inside = None
        bare = _quoted_values.sub("", self.get_starttag_text() or "")
        if tag not in _NO_DATA_TAGS and not _marks(bare):
            self._attributes(attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in {"script", "style"}:
            self._inside = "html"

    def handle_data(self, data: str) -> None:
        self._note(data, self._inside)
        if self._inside == "js":
            self._follow(_mark.split(data))

    def _follow(self, pieces: Sequence[str]) -> None:
        """Go on in a script over texts and, between each two of them, the number of a mark."""
        self._program.read(pieces[0])
        for at in range(1, len(pieces), 2):
            after = pieces[at + 1]
            if self._program.inside and not self._program.is_only_content(after):
                self.inside[int(pieces[at])] = self._program.inside
            self._program.read_value()
            self._program.read(after)

    def unfinished(self) -> str | None:
        """Return what is left open at the end of what was fed so far, or None."""
        if self.cdata_elem in {"script", "style"}:
            return f"the element <{self.cdata_elem}> has no end"
        return "a tag or a quote of an attribute has no end" if _opens_tag(self.rawdata) else None

    def _attributes(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            local = name.rpartition(":")[2]
            if name.startswith(_PROGRAM_ATTRIBUTES) or local in _NO_DATA:
                continue
            if local in _ADDRESSES:
                self._address(value or "", is_list=local in _ADDRESS_LISTS)
            else:
                self._note(value, "html")

    def _address(self, text: str, *, is_list: bool) -> None:
        pieces = _mark.split(text)
        before = pieces[0]
        for at in range(1, len(pieces), 2):
            mark = int(pieces[at])
            # A "<", ">" or quote in an address comes from a quote that was forgotten.
            place = None if set(text) & set("<>\"'") else address_place(_blanks(before)[-1] if is_list else before)
            if place is None:
                self.loose.add(mark)
            else:
                self.found[mark] = place
            before += f"x{pieces[at + 1]}"

    def _note(self, text: str | None, place: Place | None) -> None:
        if place:
            self.found |= {int(mark): place for mark in _marks(text or "")}


@dataclass(frozen=True, slots=True)
class _Slot:
    """One placeholder: its path, and where it stands; ``quoted`` when quotes of a script are part of it."""

    path: Path
    place: Place
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class CustomHTML:
    """Insert HTML at the end of the visitor's page and run its scripts.

    Attributes:
        html: the HTML, a template; see this module for what a placeholder becomes where.
        id: the tool's durable id.
        when: which events it gets; None for all.
        delivery: order, time-outs and caps.

    Raises:
        ConfigError: the HTML is empty, or a placeholder is no path or stands where data cannot be made safe.
    """

    answers: ClassVar[bool] = True

    html: str
    id: str = "custom_html"
    when: When = None
    delivery: Delivery = _DELIVERY
    _parts: Sequence[str | _Slot] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.html.strip():
            raise ConfigError(["CustomHTML: html is empty; write the HTML that pages shall get"])
        object.__setattr__(self, "_parts", _compile(self.html))

    def handle(self, event: Event) -> Iterator[Execute]:
        """Ask the page to insert the HTML."""
        data = data_of(event)
        key = f"e{event.derive(self.id):016x}"
        values: list[Any] = []
        html = "".join(part if isinstance(part, str) else _fill(part, data, key, values) for part in self._parts)
        yield Execute(f"{_INSERT}({', '.join(for_script(value) for value in (html, key, values))});")


def _fill(slot: _Slot, data: Mapping[str, Any], key: str, values: list[Any]) -> str:
    """Return what stands for a placeholder; a value that a script reads is appended to `values`."""
    value = slot.path.find(data)
    if slot.place != "js":
        return encoded(value, slot.place)
    values.append(as_text(value) if slot.quoted else value)
    return f"__eventmw.{key}[{len(values) - 1}]"


def _compile(html: str) -> tuple[str | _Slot, ...]:
    """Return the HTML in parts, every placeholder with its place.

    Raises:
        ConfigError: see `CustomHTML`.
    """
    parsed = parse(html)
    places = _Places()
    places.feed("".join(part if isinstance(part, str) else f"eventmwslot{at}x" for at, part in enumerate(parsed)))
    unfinished = places.unfinished()
    places.close()
    problems = [_no_address(parsed[at]) for at in sorted(places.loose)]
    problems += [
        _no_place(part)
        for at, part in enumerate(parsed)
        if isinstance(part, Path) and at not in places.found and at not in places.loose
    ]
    if unfinished:
        problems.append(f"CustomHTML: {unfinished}")
    if problems:
        raise ConfigError(problems)
    if places.inside:
        raise ConfigError(_no_part(parsed[at], place) for at, place in places.inside.items())
    parts = [part if isinstance(part, str) else _Slot(part, places.found[at]) for at, part in enumerate(parsed)]
    return tuple(_with_quotes(parts))


def _no_part(path: str | Path, place: str) -> str:
    written = _written(path)
    return (
        f"CustomHTML: {written} stands inside {place} of a script, where it cannot be replaced; "
        f'let it stand alone: "text " + {written}'
    )


def _written(path: str | Path) -> str:
    return path if isinstance(path, str) else f"{{{{ {'.'.join(map(str, path.steps))} }}}}"


def _no_address(path: str | Path) -> str:
    return (
        f"CustomHTML: {_written(path)} stands in an address, where data could choose scheme, host or page; write the "
        "host in front of it, https://host/…, or the beginning of a path, /x/…, or put it behind a ? or #. "
        "There can be no data in javascript:, data: and similar"
    )


def _no_place(path: Path) -> str:
    return (
        f"CustomHTML: {_written(path)} stands where data cannot be made safe; it can stand in "
        "text, in a quoted attribute (but not on…, style or srcdoc, nor what an element is and may do, such as type or "
        "sandbox), or in a script that is JavaScript"
    )


def _with_quotes(parts: list[str | _Slot]) -> list[str | _Slot]:
    """Make the quotes directly around a placeholder in a script a part of it: what replaces it is an expression."""
    for at in range(1, len(parts) - 1):
        match parts[at - 1 : at + 2]:
            case [str(before), _Slot(path, "js"), str(after)] if before[-1] in "\"'`" and after[0] == before[-1]:
                parts[at - 1 : at + 2] = [before[:-1], _Slot(path, "js", quoted=True), after[1:]]
            case _:
                pass
    return parts
