"""CustomImage: a pixel that the visitor's browser loads.

Layer: pure rules. Nothing is sent from here: the request stands in the Result Object's ``fetch``, and the page makes it.
Source: the Managed Component custom-image and the Fetch standard's RequestInit; https only is ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from eventmw.contract import Delivery, When
from eventmw.effects import Fetch
from eventmw.errors import ConfigError
from eventmw.event import Event
from eventmw.toolkit.templates import Path, Place, address_place, data_of, encoded, parse

# The host is the owner's and fixed: data may stand behind it only.
_fixed_host = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?[/?]|/(?![/\\])").match
# The browser asks the site's own paths with its visitor's cookies, so data may not choose which: "/{{ client.x }}" could be
# "/logout".
_fixed_path = re.compile(r"/[^/\\?#]+[/\\?#]|/[^/\\]*[?#]").match

_INIT: Final = {"mode": "no-cors", "credentials": "include", "keepalive": True}

_NO_FIXED_HOST: Final = (
    "CustomImage: src must be https://host/… with the host written out, or a path of this site that begins with one slash; "
    "data may stand behind the host only"
)
_NO_FIXED_PATH: Final = (
    "CustomImage: data in a path of this site must stand behind its first part, /pixel/{{ … }}, or behind a ?: "
    "else they could choose which page is asked, with the visitor's cookies"
)
_DELIVERY: Final = Delivery()


@dataclass(frozen=True, slots=True)
class CustomImage:
    """Have the browser load an image address, for a vendor that has nothing but a pixel.

    Attributes:
        src: the address, a template: ``https://t.example/p.gif?name={{ event.name }}``. Values are percent-encoded.
        id: the tool's durable id.
        when: which events it gets; None for all.
        delivery: order, time-outs and caps.

    Raises:
        ConfigError: the address is no https address with a fixed host (or a path of this site that begins with a fixed
            part), or the template is bad.
    """

    answers: ClassVar[bool] = True

    src: str
    id: str = "custom_image"
    when: When = None
    delivery: Delivery = _DELIVERY
    _parts: Sequence[str | tuple[Path, Place]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _fixed_host(self.src):
            raise ConfigError([_NO_FIXED_HOST])
        object.__setattr__(self, "_parts", tuple(_compiled(parse(self.src))))

    def handle(self, event: Event) -> Iterator[Fetch]:
        """Ask the browser for the image."""
        data = data_of(event)
        parts = (part if isinstance(part, str) else encoded(part[0].find(data), part[1]) for part in self._parts)
        yield Fetch("".join(parts), dict(_INIT))


def _compiled(parts: Iterable[str | Path]) -> Iterator[str | tuple[Path, Place]]:
    """Return the parts of an address, every placeholder with its place.

    Raises:
        ConfigError: data could choose where the request goes.
    """
    before = ""
    for part in parts:
        if isinstance(part, str):
            before += part
            yield part
            continue
        if (place := address_place(before)) is None:
            raise ConfigError([_NO_FIXED_HOST if before[:1] != "/" else _NO_FIXED_PATH])
        if before[:1] == "/" and not _fixed_path(before):
            raise ConfigError([_NO_FIXED_PATH])
        before += "x"
        yield part, place
