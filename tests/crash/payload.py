"""What the harness sends: events that can tell whether they arrived whole, and whose they are.

An event's name in here is ``client.sequence``, such as ``3.17``: it stands in the payload as ``who``. Most clients send it
as the event's id as well; the others leave the id to the server, and then never send an event twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

NAME = "crash"


def event(who: str, size: int, *, own_id: bool = True) -> dict[str, Any]:
    """Return the Event Object of `who`, with `size` characters of filler that no two events share."""
    filler = _filler(who, size)
    client = {"__zarazTrack": NAME, "who": who, "filler": filler, "sha256": _digest(who, filler)}
    return {"client": client, **({"eventmw": {"id": who}} if own_id else {})}


def body(names: list[str], size: int, *, own_id: bool = True) -> bytes:
    """Return a payload of some events."""
    return json.dumps({"events": [event(who, size, own_id=own_id) for who in names]}).encode()


def who(properties: Mapping[str, Any]) -> tuple[str, bool]:
    """Return whose event this is, and whether it is as it was sent."""
    name, filler = str(properties.get("who", "")), str(properties.get("filler", ""))
    return name, properties.get("sha256") == _digest(name, filler)


def order(name: str) -> tuple[str, int]:
    """Return the client and the sequence number in a name."""
    client, _, sequence = name.rpartition(".")
    return client, int(sequence)


def _filler(name: str, size: int) -> str:
    block = hashlib.sha256(name.encode()).hexdigest()
    return (block * (size // len(block) + 1))[:size]


def _digest(name: str, filler: str) -> str:
    return hashlib.sha256(f"{name}\n{filler}".encode()).hexdigest()


def names_in(posted: bytes) -> list[str]:
    """Return the names in a body that `eventmw.tools.Webhook` posted.

    Raises:
        ValueError: one of its events is not as it was sent.
    """
    found = [who(event["properties"]) for event in json.loads(posted)["events"]]
    if not all(sound for _, sound in found):
        raise ValueError("an event arrived that is not as it was sent")
    return [name for name, _ in found]
