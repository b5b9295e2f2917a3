"""Lengths of time as people write them in options: 30s, 5m, 1h, 7d, 2w.

Layer: people.
"""

from __future__ import annotations

import re
from typing import Final

import click

_UNITS: Final = {
    "s": ("seconds", 1),
    "m": ("minutes", 60),
    "h": ("hours", 3600),
    "d": ("days", 86_400),
    "w": ("weeks", 604_800),
}
_age = re.compile(r"([0-9]{1,6})([smhdw])").fullmatch


def age(text: str, option: str) -> tuple[str, str]:
    """Return the number and the unit, such as ``("7", "days")``.

    Args:
        text: what was given.
        option: to what, for the words that say what is wrong with it.

    Raises:
        click.BadParameter: it is no such length.
    """
    if (found := _age(text)) is None:
        raise click.BadParameter(f"{text!r} is no age such as 5m, 1h or 7d", param_hint=option)
    return found[1], _UNITS[found[2]][0]


def age_s(text: str, option: str) -> int:
    """Return the seconds.

    Raises:
        click.BadParameter: as for `age`.
    """
    number, _ = age(text, option)
    return int(number) * _UNITS[text[-1]][1]
