"""GA4: Google Analytics 4 through its Measurement Protocol.

GA4 answers 2xx to everything, a malformed event included, so all its limits are checked before anything is sent: an event
that GA4 would not take ends as ``dropped`` with the reason; what GA4 would cut or ignore in an event is cut or left out
here in a known way. The table of both stands in docs/tools.md.

Layer: pure rules. Ids that have to be made up are functions of the event, so every run makes the same.

Sources:
    * limits, session_id and engagement_time_msec, 72 hours: developers.google.com/analytics/devguides/collection/protocol/
      ga4/sending-events; body, hosts, consent, ip_override, device: …/ga4/reference; debug: …/ga4/validating-events
    * user_agent: Google's Event Builder (googleanalytics/ga-dev-tools, src/components/ga4/EventBuilder)
    * lengths of page fields, 25 user properties: support.google.com/analytics/answer/9267744
    * names in any script, reserved names and prefixes: support.google.com/analytics/answer/13316687; …/ga4/reference,
      «reserved names»; firebase.google.com/docs/reference/swift/firebaseanalytics/api/reference/Classes/Analytics
    * too long values and parameters past the 25th are lost: firebase.google.com/docs/analytics/errors
    * names of e-commerce events: the public Managed Component google-analytics-4
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from eventmw.contract import Delivery, When, verdict_by_status
from eventmw.effects import DONE, Drop, Effect, Packed, Send, SetCookie, Verdict, refused, retry
from eventmw.errors import ConfigError
from eventmw.event import Event
from eventmw.formats import is_ip
from eventmw.http import HttpReply, HttpRequest
from eventmw.jsontext import encode
from eventmw.secret import AnySecret, Secret, copying_problem, known, reveal
from eventmw.toolkit import google
from eventmw.toolkit.endpoints import problem_with
from eventmw.toolkit.ga4params import (
    EVENT_NAMES,
    MAX_VALUE,
    RESERVED_PROPERTIES,
    cleaned,
    cut,
    event_object,
    is_scalar,
    name_problem,
)
from eventmw.toolkit.packing import batches

MAX_EVENTS: Final = 25
MAX_BODY_BYTES: Final = 130_000
"""«Smaller than 130 kB». Source: assumption, that a kB is 1,000 bytes."""
MAX_USER_PROPERTIES: Final = 25
MAX_PROPERTY_NAME: Final = 24
MAX_PROPERTY_VALUE: Final = 36
MAX_USER_ID: Final = 256
MAX_AGE_MS: Final = 72 * 3600 * 1000

_language = re.compile(r"[A-Za-z]{2,3}(?![A-Za-z])").match
_resolution = re.compile(r"[0-9]{1,5}x[0-9]{1,5}").fullmatch
_unsaid = re.compile(r"[^A-Za-z0-9_.\[\] ]")
_measurement_id = re.compile(r"G-[A-Z0-9]{4,20}").fullmatch


_DELIVERY: Final = Delivery()
# The validation server's answer: {"validationMessages": [{"fieldPath", "description", "validationCode"}]}.
_findings = msgspec.json.Decoder(dict[str, list[dict[str, str]]]).decode


class _Hit(NamedTuple):
    """One event ready to go: what stands at the top of its request, and the event itself; both JSON."""

    scope: bytes
    event: bytes


@dataclass(frozen=True, slots=True)
class GA4:
    """Google Analytics 4.

    Attributes:
        measurement_id: ``G-…``, of the web stream.
        api_secret: made in Admin > Data streams > Measurement Protocol API secrets.
        host: ``region1.google-analytics.com`` keeps the data in the EU; a full address for an own collector.
        names: event names of one's own → GA4's, before any other rule: ``{"Lead": "generate_lead"}``.
        user_properties: names of event properties that are sent as user properties.
        set_cookies: ask for the cookies ``_ga`` and ``_ga_…`` when the visitor has none.
        cookie_domain: the cookies' domain; None: the host that answers.
        send_ip: send the visitor's address, from which GA4 makes the location and which it does not keep.
        debug: send to the validation server: nothing is recorded, and what it finds wrong becomes a dead letter.
        id: the tool's durable id.
        when: which events it gets; None for all.
        delivery: order, time-outs and caps.

    Raises:
        ConfigError: any of this cannot work; all problems at once.
    """

    answers: ClassVar[bool] = True

    measurement_id: str
    api_secret: AnySecret = field(repr=False)
    host: str = "www.google-analytics.com"
    names: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    user_properties: Sequence[str] = ()
    set_cookies: bool = True
    cookie_domain: str | None = None
    send_ip: bool = True
    debug: bool = False
    id: str = "ga4"
    when: When = None
    delivery: Delivery = _DELIVERY

    def __post_init__(self) -> None:
        problems = [*_problems(self)]
        if problems:
            raise ConfigError(f"GA4: {problem}" for problem in problems)
        if isinstance(self.api_secret, str):
            object.__setattr__(self, "api_secret", Secret(self.api_secret))
        object.__setattr__(self, "user_properties", tuple(self.user_properties))

    def handle(self, event: Event) -> Iterator[Effect]:
        """Want the event sent and, for a visitor without GA4's cookies, the cookies set; or drop it and say why."""
        name = self._event_name(event)
        if reason := name_problem(name) or _refusal(event):
            yield Drop(reason)
            return
        client, session = google.client(event), google.session(event, self.measurement_id)
        hit = _Hit(self._scope(event, client.value), encode(event_object(event, name, session.value)))
        if len(_body(hit.scope, [hit.event])) >= MAX_BODY_BYTES:
            yield Drop("larger than the 130 kB that GA4 takes in one request")
            return
        yield Send(hit, size=len(hit.event))
        known_otherwise = "client_id" in event.properties or client.unreadable or session.unreadable
        if self.set_cookies and not known_otherwise:
            yield from self._cookies(client, session)

    def pack(self, items: Sequence[Send]) -> Iterable[Packed]:
        """Put events of one visitor together: at most 25 a request, in order, below 130 kB."""
        visitors: dict[bytes, list[Send]] = {}
        for item in items:
            visitors.setdefault(item.payload.scope, []).append(item)
        for scope, sends in visitors.items():
            frame = len(_body(scope, ()))
            for batch in batches(sends, max_items=MAX_EVENTS, max_bytes=MAX_BODY_BYTES - 1, frame=frame):
                body = _body(scope, [item.payload.event for item in batch])
                yield Packed(HttpRequest("POST", self._url(), (("content-type", "application/json"),), body), batch)

    def verdict(self, reply: HttpReply, items: Sequence[Send]) -> Sequence[Verdict]:
        """2xx is done, since GA4 says no more; the validation server says what is wrong; else by the status."""
        if self.debug and reply.status == 200:  # noqa: PLR2004 - RFC 9110 15.3.1
            return [_validated(reply.body)] * len(items)
        if reply.status in {404, 405, 410} or 300 <= reply.status < 400:  # noqa: PLR2004 - RFC 9110 15.4
            return [retry(f"HTTP {reply.status}: check GA4's host")] * len(items)
        return verdict_by_status(reply, items)

    def _url(self) -> str:
        query = urlencode({"measurement_id": self.measurement_id, "api_secret": reveal(self.api_secret)})
        return f"{_origin(self.host)}{'/debug' if self.debug else ''}/mp/collect?{query}"

    def _event_name(self, event: Event) -> str:
        if own := self.names.get(event.name):
            return own
        if event.kind == "pageview":
            return "page_view"
        known = EVENT_NAMES.get(event.name) if event.kind == "ecommerce" else None
        return known or cleaned(event.name)

    def _scope(self, event: Event, client_id: str) -> bytes:
        """Return what holds for a whole request. Events with the same scope share requests."""
        scope: dict[str, Any] = {"client_id": client_id}
        if event.user_id and len(event.user_id) <= MAX_USER_ID:
            scope["user_id"] = event.user_id
        properties = {
            name: {"value": cut(value, MAX_PROPERTY_VALUE)}
            for name in self.user_properties
            if is_scalar(value := event.properties.get(name))
        }
        if properties:
            scope["user_properties"] = properties
        if consent := google.ads_consent(event):
            scope["consent"] = consent
        if self.send_ip and event.device.ip and is_ip(event.device.ip):
            scope["ip_override"] = event.device.ip
        scope |= _device(event)
        if self.debug:
            scope["validation_behavior"] = "ENFORCE_RECOMMENDATIONS"
        return encode(scope)

    def _cookies(self, client: google.Id, session: google.Id) -> Iterator[SetCookie]:
        wanted = (
            ("_ga", client.cookie, 365 * 24 * 3600),
            (google.session_cookie(self.measurement_id), session.cookie, google.SESSION_S),
        )
        for name, value, max_age_s in wanted:
            if value:
                yield SetCookie(name, value, path="/", domain=self.cookie_domain, max_age_s=max_age_s, same_site="Lax")


def _refusal(event: Event) -> str | None:
    """Return why GA4 would not take an event of this age, or its sender not want it. The second: Source: assumption."""
    if event.recorded_ms - event.timestamp_ms > MAX_AGE_MS:
        return "happened more than 72 hours before it was recorded, which GA4 ignores"
    return "analytics_storage is denied" if google.consent_signals(event).get("analytics_storage") == "denied" else None


def _device(event: Event) -> dict[str, Any]:
    """Return the visitor's device. GA4 ignores ``user_agent`` beside ``device``, so it gets the one that says more.

    Source: ga-dev-tools, DeviceInformation.tsx; that ``user_agent`` stands beside ``device`` in the body is an assumption.
    """
    device = event.device
    if device.user_agent:
        return {"user_agent": device.user_agent}
    known = {
        "language": device.language and _language(device.language),
        "screen_resolution": device.resolution and _resolution(device.resolution),
    }
    parts = {name: found[0] for name, found in known.items() if found}
    return {"device": parts} if parts else {}


def _body(scope: bytes, events: Sequence[bytes]) -> bytes:
    return b'%b,"events":[%b]}' % (scope[:-1], b",".join(events))


def _validated(body: bytes) -> Verdict:
    try:
        findings = _findings(body).get("validationMessages", [])
    except msgspec.DecodeError:
        return retry("the validation server's answer is not what its page says")
    if not findings:
        return DONE
    where = (findings[0].get(name, "") for name in ("validationCode", "fieldPath"))
    return refused(_unsaid.sub("", " ".join(where))[:MAX_VALUE])


def _origin(host: str) -> str:
    return host.rstrip("/") if "://" in host else f"https://{host}"


def _problems(tool: GA4) -> Iterator[str]:
    if not _measurement_id(tool.measurement_id):
        yield "measurement_id must be G- and 4 to 20 capital letters and digits, as Admin > Data streams shows it"
    if tool.api_secret == "":
        yield "api_secret is empty; make one in Admin > Data streams > Measurement Protocol API secrets"
    elif trouble := copying_problem(known(tool.api_secret) or ""):
        yield f"api_secret {trouble}"
    if (trouble := problem_with(_origin(tool.host))) or "/" in _origin(tool.host).partition("://")[2]:
        yield f"host {trouble or 'must be a host alone, without a path'}"
    for name in tool.names.values():
        if trouble := name_problem(name):
            yield f"names: {name!r} cannot be an event's name: {trouble}"
    if len(tool.user_properties) > MAX_USER_PROPERTIES:
        yield f"user_properties: GA4 takes at most {MAX_USER_PROPERTIES}"
    for name in tool.user_properties:
        if trouble := name_problem(name, RESERVED_PROPERTIES, MAX_PROPERTY_NAME):
            yield f"user_properties: {name!r} cannot be one: {trouble}"
