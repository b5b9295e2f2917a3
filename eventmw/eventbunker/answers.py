"""The answer of a call in JSON.

Layer: pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eventmw.http import Reply
from eventmw.jsontext import encode


def json_reply(answer: Mapping[str, Any]) -> Reply:
    """Return the 200 of a call whose answer nobody may keep."""
    body = encode(answer)
    headers = (
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    )
    return Reply(200, headers, body)
