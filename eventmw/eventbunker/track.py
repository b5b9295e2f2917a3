"""``POST {eventbunker_path}/post``: the track API as an exchange drives it.

Layer: input and output on the runtime only. Source: PROTOCOLS.md 3.1.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from math import inf
from typing import Final

from eventmw.errors import Refused
from eventmw.event import BROWSER_FIELDS, CLIENT_HINTS, PRIVACY_FIELDS
from eventmw.eventbunker.places import Places
from eventmw.exchange import Taken, not_kept_in_time
from eventmw.formats import is_ip
from eventmw.http import Headers, Reply, client_hints, language_of
from eventmw.intake.door import MAX_HEADER, browser_of, wants_privacy
from eventmw.intake.keyed import KeyedDoor, KeyedVisit
from eventmw.journal import Position
from eventmw.keys import Key
from eventmw.openapi.operation import BODY_CODES, IDEMPOTENCY_KEY, KEPT_CODES, Content, KeyIn, Operation, SchemaRef
from eventmw.protocols import eventbunker
from eventmw.protocols.eventbunker import Context, Judge, Sender, Tracked, Writer
from eventmw.runtime import Runtime

log = logging.getLogger("eventmw")

PATH: Final = "/post"
HEADER: Final = "x-eventbunker-write-key"

WARN_S: Final = 600
"""How often a kind of warning is logged."""

_WARNINGS: Final[Mapping[str, str]] = {
    "past_time": "happened before the year 2000",
    "future_time": "happen more than a day ahead",
    "time_unit": "have a time that counts no milliseconds, and was read by its size",
    "lone_surrogate": "have a text that holds half a character, which U+FFFD replaces",
}

_AGAIN: Final = "Nothing is promised of these events; with an Idempotency-Key they can be sent again without harm."

_EVENT: Final = SchemaRef("eventbunker-track")
_TAKEN: Final = SchemaRef("eventbunker-answer", "taken")

OPERATION: Final = Operation(
    id="track",
    path=PATH,
    tag="track",
    summary="Track one event, or an array of them.",
    description="Any Content-Type is read as JSON. An array is answered by an array in the same order.",
    keys=(KeyIn(HEADER, "write"),),
    body=Content((_EVENT,), (_EVENT,)),
    # Source: the seed's «Example Request», with the comma that it lacks.
    examples={
        "one": {
            "event_name": "my_first_event_name",
            "timestamp": "2021-06-26T14:48:00.000",
            "customer_identifier": "your_app_customer_id",
            "example_string_field": "",
            "example_number_field": 123,
            "example_array_field": ["cat", "dog"],
            "example_bool_field": True,
        },
        "several": [{"event_name": "seen"}, {"event_name": "bought", "price": 9.5}],
    },
    answer=Content((_TAKEN,), (_TAKEN, SchemaRef("eventbunker-answer", "error"))),
    codes=BODY_CODES | KEPT_CODES | {"invalid_body", "keys_down"},
    error_arrays=True,
    headers={"Idempotency-Key": IDEMPOTENCY_KEY},
    counts_rejected=True,
)


class TrackApi:
    """The track API of one site. It keeps nothing of a request.

    Args:
        runtime: what it works on; its `keys` and `names` are asked at each request.
    """

    again = _AGAIN
    header_names = (HEADER, "user-agent", "referer", *PRIVACY_FIELDS, *BROWSER_FIELDS)
    takes_query = False

    def __init__(self, runtime: Runtime) -> None:
        config = runtime.config
        limits = config.limits
        self.path = f"{config.eventbunker_path}{PATH}"
        self.runtime = runtime
        self.door = KeyedDoor(
            runtime,
            header=HEADER,
            kinds=frozenset({"write"}),
            trusted_proxies=config.trusted_proxies,
            max_body_bytes=limits.max_body_bytes,
        )
        self.max_body_bytes = limits.max_body_bytes
        self.patience_s = limits.append_timeout_s
        self.append = runtime.append
        self.refuse = eventbunker.refuse
        self._warned_s: dict[str, float] = {}
        self._judge = Judge(max_events=limits.max_events, max_depth=limits.max_depth)
        self._places = None if config.geoip is None else Places(config.geoip)

    def accept(self, body: bytes, visit: KeyedVisit, /) -> Tracked:
        """Judge a request.

        Raises:
            Refused: nothing of it is accepted.
        """
        runtime, key = self.runtime, visit.key
        assert key is not None, "tracking lets nobody in without a key"
        now_ms = runtime.clock.now_ms()
        sender = Sender(
            visit.credential, Writer(key.project_id, key.customer), self._context(visit, key), visit.idempotency_key
        )
        arrival = (runtime.clock.new_id(now_ms), now_ms)
        tracked = eventbunker.accept(body, sender, arrival, self._judge, runtime.names)
        if tracked.judgement.warnings:
            self._warn(tracked.judgement.warned(), key.project_id)
        return tracked

    def _warn(self, warned: Mapping[str, int], project_id: str) -> None:
        """Log what looks wrong in accepted events, each kind once in `WARN_S`: the answer has no place for it."""
        now_s = self.runtime.clock.monotonic_s()
        for code, count in warned.items():
            if now_s - self._warned_s.get(code, -inf) >= WARN_S:
                self._warned_s[code] = now_s
                log.warning(
                    "%s: %d tracked event(s) of project %s %s; such events are counted, and reported once in %d minutes",
                    code, count, project_id, _WARNINGS.get(code, "look wrong"), WARN_S // 60,
                )  # fmt: skip

    def _context(self, visit: KeyedVisit, key: Key) -> Context:
        """Return what is recorded of the connection; no address of somebody whose browser says not to."""
        headers = visit.head.headers
        browser = browser_of(headers) if "sec-fetch-site" in headers or "origin" in headers else {}
        ip = visit.address if visit.address and is_ip(visit.address) and not wants_privacy(headers) else None
        return Context(
            key.customer,
            ip,
            headers.get("user-agent", "")[:MAX_HEADER] or None,
            headers.get("referer", "")[:MAX_HEADER] or None,
            {} if ip is None or self._places is None else self._places.of(ip),
            language_of(browser.get("accept-language", "")),
            client_hints({name: headers[name][:MAX_HEADER] for name in CLIENT_HINTS if name in headers}),
        )

    def reply(self, tracked: Tracked, kept: Future[Position], cors: Headers, /) -> Reply:
        """Answer a request whose record has been kept.

        Raises:
            JournalDown: it has not been.
        """
        kept.result(0)
        if tracked.own_ids:
            self.runtime.remember(tracked)
            first_ms = partial(self.runtime.recent.first_ms, tracked.record.credential)
            known = {index: first_ms(tracked.id_at(index)) for index in tracked.duplicates}
            tracked.first_ms = {index: recorded_ms for index, recorded_ms in known.items() if recorded_ms is not None}
        return eventbunker.reply(tracked, cors)

    def late(self, _: Tracked, /) -> Refused:
        """Return the refusal of a request whose record is not kept yet."""
        return not_kept_in_time(self.patience_s, self.again)

    def taken(self, tracked: Tracked, /) -> Taken:
        """Return what became of its events."""
        judgement = tracked.judgement
        return Taken(
            tracked.record.id,
            judgement.accepted,
            len(judgement.invalid),
            len(tracked.duplicates),
            judgement.warned() if judgement.warnings else {},
        )
