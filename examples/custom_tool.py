"""A destination of your own is one class in one file, with no base class and no I/O. This one is Segment's batch API.

Use it:      EventsMiddleware(app, path="/zaraz/api", tools=[Segment(env("SEGMENT_WRITE_KEY"))])
Test it:     pytest examples/custom_tool.py

``handle`` says what an event becomes; ``pack`` makes requests within the vendor's limits; ``verdict`` reads the answer.
Sending, waiting, trying again and giving up are the courier's.

Source: https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/ («Batch», «Authentication», «Errors»)
"""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from eventmw import Drop, Event, HttpReply, HttpRequest, Packed, Secret, Send, Verdict
from eventmw.effects import DONE, refused, retry
from eventmw.formats import to_iso
from eventmw.retry import retry_after_s
from eventmw.secret import AnySecret, reveal
from eventmw.testing import an_event, effects_of
from eventmw.toolkit.packing import batches

# Segment answers 200 to events that it then drops, so its limits are checked before anything is sent.
MAX_CALL_BYTES, MAX_BATCH_BYTES, MAX_BATCH_CALLS = 32_000, 500_000, 2_500


@dataclass(frozen=True, slots=True)
class Segment:
    """Send each event to Segment as a ``track`` call."""

    write_key: AnySecret = field(repr=False)
    id: str = "segment"

    def handle(self, event: Event) -> Iterator[Send | Drop]:
        if not event.name:
            yield Drop("Segment takes no track call without a name")
            return
        call = json.dumps(
            {
                "type": "track",
                "event": event.name,
                "messageId": event.id,  # Segment drops what it has seen, so a delivery that is repeated counts once
                "anonymousId": event.cookies.get("ajs_anonymous_id", event.id),
                "timestamp": to_iso(event.timestamp_ms),
                "properties": dict(event.properties),
            }
        )
        if len(call) < MAX_CALL_BYTES:
            yield Send(call, size=len(call))
        else:
            yield Drop("larger than the 32 kB that Segment takes")

    def pack(self, items: Sequence[Send]) -> Iterable[Packed]:
        user = base64.b64encode(f"{reveal(self.write_key)}:".encode()).decode()
        headers = (("authorization", f"Basic {user}"), ("content-type", "application/json"))
        for batch in batches(items, max_items=MAX_BATCH_CALLS, max_bytes=MAX_BATCH_BYTES, frame=len('{"batch":[]}')):
            body = '{"batch":[' + ",".join(item.payload for item in batch) + "]}"
            yield Packed(HttpRequest("POST", "https://api.segment.io/v1/batch", headers, body.encode()), batch)

    def verdict(self, reply: HttpReply, items: Sequence[Send]) -> Sequence[Verdict]:
        match reply.status:
            case 200:
                return [DONE] * len(items)
            case 400 | 413:  # one event is at fault: the courier splits the batch to find it
                return [refused(f"HTTP {reply.status}")] * len(items)
            case status:
                return [retry(f"HTTP {status}", retry_after_s(reply.headers.get("retry-after")))] * len(items)


def test_an_event_becomes_a_track_call() -> None:
    [wanted] = effects_of(Segment(Secret("key")), an_event("purchase", {"value": 12}, id="order-1"))

    assert isinstance(wanted, Send)
    assert json.loads(wanted.payload)["messageId"] == "order-1"


def test_an_event_without_a_name_is_dropped_with_the_reason() -> None:
    assert effects_of(Segment(Secret("key")), an_event("")) == [Drop("Segment takes no track call without a name")]
