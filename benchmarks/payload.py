"""Payloads as real senders write them: about 308 bytes an event, no two events alike.

Every event has an address, a viewport, cookies and an order of its own: what a cache may remember of one event must not
make the next one look cheap.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

import msgspec

_NAMES: Final = ("purchase", "add_to_cart", "sign_up", "Pageview", "search", "refund")
_SCREENS: Final = ("1920x1080", "2560x1440", "390x844", "1440x900", "1366x768", "412x915", "3840x2160", "820x1180")
_LANGUAGES: Final = ("en-GB", "de-DE", "fr-FR", "en-US", "pt-BR", "ja-JP")


def event(chance: random.Random) -> dict[str, Any]:
    """Return one Event Object."""
    number = chance.randrange(10_000, 99_999)
    return {
        "client": {
            "__zarazTrack": chance.choice(_NAMES),
            "value": f"{chance.randrange(100, 99_999) / 100:.2f}",
            "currency": "EUR",
            "order": f"A-{number}",
        },
        "system": {
            "cookies": {"sid": f"{chance.getrandbits(64):016x}"},
            "device": {
                "ip": f"{chance.randrange(1, 224)}.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(256)}",
                "resolution": chance.choice(_SCREENS),
                "viewport": f"{chance.randrange(320, 3840)}x{chance.randrange(400, 2160)}",
                "language": chance.choice(_LANGUAGES),
            },
            "page": {"title": f"Order {number}", "url": f"https://shop.example/orders/{number}"},
        },
    }


def own(index: int) -> dict[str, Any]:
    """Return the ``eventmw`` part of a sender that names its events."""
    return {"id": f"order-{index:08}", "timestamp": 1_700_000_000_000 + index}


def body(count: int, seed: int, *, ids: bool = False) -> bytes:
    """Return a payload of `count` events."""
    chance = random.Random(seed)
    events = [event(chance) | ({"eventmw": own(seed * count + at)} if ids else {}) for at in range(count)]
    return msgspec.json.encode({"events": events})


def bodies(count: int, many: int, *, first: int = 1, ids: bool = False) -> list[bytes]:
    """Return `many` payloads of `count` events each, no event twice."""
    return [body(count, seed, ids=ids) for seed in range(first, first + many)]


def with_event(whole: bytes, at: int, replacement: Any) -> bytes:
    """Return a payload in which one event is another."""
    document = msgspec.json.decode(whole)
    document["events"][at] = replacement
    return msgspec.json.encode(document)


def hostile(count: int) -> Iterator[tuple[str, bytes]]:
    """Return payloads made to cost as much as they can: a name and a body each, all within the default limits."""
    chance = random.Random(1)
    good = [event(chance) for _ in range(count)]
    kinds: dict[str, Any] = {
        "no client": [{"system": one["system"]} for one in good],
        "client is text": [{**one, "client": "x"} for one in good],
        "not an object": [0] * count,
        "name is an object": [{**one, "client": {**one["client"], "__zarazTrack": {}}} for one in good],
        "bad id and time": [{**one, "eventmw": {"id": {}, "timestamp": "yesterday"}} for one in good],
        "every kind in turn": [_wrong(one, at) for at, one in enumerate(good)],
        "nested 30 deep": [{"client": {"deep": _nested(26)}, "eventmw": {"id": {}}} for _ in good],
        "advice: one bad size": [_advised(one, resolution="wide") for one in good],
        "advice: every field": [_advised_everywhere(one) for one in good],
        "advice: 60 odd cookies": [
            {"client": {}, "system": {"cookies": {f"c{n}": {} for n in range(60)}}} for _ in good
        ],
        "advice: unknown key too": [_advised(one, resolution="wide") | {"more": 1} for one in good],
    }
    for name, events in kinds.items():
        yield name, msgspec.json.encode({"events": events})
    crowd: dict[str, Any] = {"client": {}, "system": {"cookies": {f"c{n:06}": {} for n in range(70_000)}}}
    yield CROWD, msgspec.json.encode({"events": [crowd]})


CROWD: Final = "beside them: one event of 0.9 MB, 70,000 odd cookies"
"""Not one of the bodies of a thousand wrong events that a figure is asked of."""


def _wrong(one: dict[str, Any], at: int) -> Any:
    wrongs: tuple[Any, ...] = (
        {"system": one["system"]},
        {**one, "client": 7},
        None,
        {**one, "client": {"__zarazTrack": [1]}},
        {**one, "eventmw": {"id": "x" * 129}},
        {**one, "eventmw": {"timestamp": -1}},
    )
    return wrongs[at % len(wrongs)]


def _nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def _advised(one: dict[str, Any], **device: Any) -> dict[str, Any]:
    system = one["system"]
    return {**one, "system": {**system, "device": {**system["device"], **device}}}


def _advised_everywhere(one: dict[str, Any]) -> dict[str, Any]:
    device = {"ip": "999.1.1.1", "resolution": "wide", "viewport": {}, "language": [1], "user-agent": {}}
    page = {"url": "nowhere", "referrer": "shop", "title": {}, "encoding": [2]}
    return {**one, "system": {"cookies": {"a": {}, "b": [1]}, "device": device, "page": page}}
