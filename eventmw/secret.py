"""Secrets: values that a tool needs and that nothing may print.

Layer: vocabulary (standard library only).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from operator import itemgetter
from typing import Final, cast

from eventmw.errors import ConfigError

_HIDDEN: Final = "••••"


class Secret:
    """A string that shows itself only to `reveal`.

    ``repr``, ``str`` and formatting give a fixed mask, so a log line, a traceback or a configuration dump holds none of it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself. Call it where the request is built, and nowhere else."""
        return _noted(self._value)

    def __repr__(self) -> str:
        return f"Secret('{_HIDDEN}')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    # It cannot change, so a copy is the same one: `dataclasses.asdict` copies what a tool holds.
    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _memo: object) -> Secret:
        return self

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is not pickled: pickles end up in files and logs")


@dataclass(frozen=True, slots=True)
class EnvSecret:
    """A secret that lives in the environment variable `name`; it is read when it is needed, so it is never in a file."""

    name: str

    def is_set(self) -> bool:
        """Return whether the variable is there and not empty."""
        return bool(os.environ.get(self.name))

    def reveal(self) -> str:
        """Return the variable's value.

        Raises:
            ConfigError: the variable is not set or is empty.
        """
        value = os.environ.get(self.name, "")
        if not value:
            raise ConfigError(
                [f"the environment variable {self.name} is not set, and the configuration names it as a secret"]
            )
        return _noted(value)


def env(name: str) -> EnvSecret:
    """Name a secret that stands in an environment variable: ``GA4("G-ABC", api_secret=env("GA4_SECRET"))``."""
    return EnvSecret(name)


def variables_of(tool: object) -> Iterator[tuple[str, EnvSecret]]:
    """Return the variables that a tool's settings name, each with its setting: ``api_secret``, ``headers.X-Key``."""
    if not dataclasses.is_dataclass(tool):
        return
    for spec in dataclasses.fields(tool):
        value: object = getattr(tool, spec.name, None)
        if isinstance(value, EnvSecret):
            yield spec.name, value
        elif isinstance(value, Mapping):
            for key, inner in cast(Mapping[str, object], value).items():
                if isinstance(inner, EnvSecret):
                    yield f"{spec.name}.{key}", inner


AnySecret = Secret | EnvSecret | str

_MIN_KNOWN, _MAX_KNOWN = 6, 1000
_uses: Final = count()
_known: Final[dict[str, int]] = {}
"""What was revealed in this process → when it was last, so that no traceback repeats it."""


def reveal(secret: AnySecret) -> str:
    """Return the string behind a plain string, a `Secret` or an `env` name."""
    return _noted(secret) if isinstance(secret, str) else secret.reveal()


def _noted(value: str) -> str:
    """Remember a secret that leaves its box, so that `without_secrets` masks it; of many, those used last."""
    if len(value) >= _MIN_KNOWN:
        _known[value] = next(_uses)
        if len(_known) > _MAX_KNOWN:
            for old, _ in sorted(_known.items(), key=itemgetter(1))[: _MAX_KNOWN // 4]:
                _known.pop(old, None)
    return value


def without_secrets(text: str) -> str:
    """Mask every secret that was revealed in this process, if it has at least six characters."""
    for value in sorted(_known, key=len, reverse=True):
        text = text.replace(value, _HIDDEN)
    return text


def known(secret: AnySecret | None) -> str | None:
    """Return the string behind a secret as far as it is known now; None for a variable that is not set, or no secret."""
    return None if secret is None or (isinstance(secret, EnvSecret) and not secret.is_set()) else reveal(secret)


def copying_problem(value: str) -> str | None:
    """Return what looks wrong with a secret that was copied, in half a sentence; None when nothing does.

    A blank or a line end around it comes from a file or a terminal. The vendor has it without, and would refuse it silently.
    """
    if value != value.strip():
        return "has a blank or a line end around it; leave that out"
    return None if value.isprintable() else "has a line end or a control character inside; copy it again"
