"""Projects, what a new key is to be granted, and how keys are shown to their owner.

Layer: vocabulary (standard library only).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eventmw.keys import Key, KeyKind
from eventmw.secret import Secret


@dataclass(frozen=True, slots=True)
class Project:
    """A project: events behind a wall of their own. ``created_ms`` is UTC, in milliseconds since 1970."""

    id: str
    account_id: str
    name: str
    description: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A key as a list shows it: what it may, what its owner calls it, and what its secret begins with."""

    key: Key
    name: str
    prefix: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Issued:
    """A key that was just made, with its secret: it is shown now, and cannot be shown again."""

    key: Key
    secret: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a new key of a project may. See `eventmw.keys.Key`; ``name`` is what its owner calls it."""

    kind: KeyKind
    customer: str | None = None
    key_filter: Mapping[str, Any] = field(default_factory=dict[str, Any])
    origins: Sequence[str] = ()
    name: str = ""
