"""Keys of the EventBunker API: who may write, ask and delete, in which project, for which customer.

Layer: vocabulary (standard library only); what stores and finds keys stands beside it.

Three levels of secret: an account's master key makes projects, a project's master key makes keys, and a key writes, asks or
deletes in its one project. Source: PROTOCOLS.md 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

KeyKind = Literal["account", "project", "write", "query", "delete"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What a key that somebody shows stands for. The secret itself is in none of it.

    Attributes:
        id: names the key in lists, logs and records; visible, and of no use to anybody.
        kind: what it opens.
        account_id: whose it is.
        project_id: the one project that it is bound to; "" for an account's.
        customer: the one customer that it is bound to: writes get it filled in, questions see nothing else. None: all.
        key_filter: field → value that every event must have to be seen through a query key; empty: all.
        origins: browser origins whose pages may use it; empty: no page of another site.
    """

    id: str
    kind: KeyKind
    account_id: str
    project_id: str = ""
    customer: str | None = None
    key_filter: Mapping[str, Any] = field(default_factory=dict[str, Any])
    origins: tuple[str, ...] = ()
