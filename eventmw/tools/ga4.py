"""GA4: Google Analytics 4 through its Measurement Protocol.

GA4 answers 2xx to everything, a malformed event included, so all its limits are checked before anything is sent: an event
that GA4 would not take ends as ``dropped`` with the reason; what GA4 would cut or ignore in an event is cut or left out
here in a known way. The table of both stands in docs/tools.md.

Layer: pure rules. Ids that have to be made up are functions of the event, so every run makes the same.

Sources:
    * limits, session_id and engagement_time_msec, 72 hours: developers.google.com/analytics/devguides/collection/protocol/
      ga4/sending-events; body, hosts, consent, ip_override, device: …/ga4/reference; debug: …/ga4/validating-events
    * reserved names, user_agent: Google's Event Builder (googleanalytics/ga-dev-tools, src/components/ga4/EventBuilder)
    * lengths of page fields, 25 user properties: support.google.com/analytics/answer/9267744
    * reserved prefixes and user properties: support.google.com/analytics/answer/13316687
    * too long values and parameters past the 25th are lost: firebase.google.com/docs/analytics/errors
    * names of e-commerce events: the public Managed Component google-analytics-4
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple, TypeGuard
from urllib.parse import urlencode

import msgspec

from eventmw.contract import Delivery, When, verdict_by_status
from eventmw.effects import DONE, Drop, Effect, Packed, Send, SetCookie, Verdict, refused, retry
from eventmw.errors import ConfigError
from eventmw.event import Event
from eventmw.formats import is_ip
from eventmw.http import HttpReply, HttpRequest
from eventmw.jsontext import encode, is_list, is_object
from eventmw.secret import AnySecret, Secret, reveal
from eventmw.toolkit import google
from eventmw.toolkit.endpoints import problem_with
from eventmw.toolkit.packing import batches

MAX_EVENTS: Final = 25
MAX_PARAMS: Final = 25
MAX_BODY_BYTES: Final = 130_000
"""«Smaller than 130 kB». Source: assumption, that a kB is 1,000 bytes."""
MAX_NAME: Final = 40
MAX_VALUE: Final = 100
MAX_ITEMS: Final = 200  # Source: assumption; no page that was read says it
MAX_ITEM_PARAMS: Final = 27
"""The fields of an item that Google names and up to 27 of one's own; all are counted here. Source: support 9267744."""
MAX_USER_PROPERTIES: Final = 25
MAX_PROPERTY_NAME: Final = 24
MAX_PROPERTY_VALUE: Final = 36
MAX_USER_ID: Final = 256
MAX_AGE_MS: Final = 72 * 3600 * 1000

_LONGER: Final = {"page_location": 1000, "page_referrer": 420, "page_title": 300}

# Source: ga-dev-tools, formatCheckLib.ts; the four app_store_… from rudder-transformer, src/v0/destinations/ga4/utils.js.
# fmt: off
RESERVED_EVENTS: Final = frozenset({
    "ad_activeview", "ad_click", "ad_exposure", "ad_impression", "ad_query", "adunit_exposure",
    "app_clear_data", "app_install", "app_update", "app_remove", "app_store_refund",
    "app_store_subscription_cancel", "app_store_subscription_convert", "app_store_subscription_renew", "error",
    "first_open", "first_visit", "in_app_purchase", "notification_dismiss", "notification_foreground",
    "notification_open", "notification_receive", "os_update", "screen_view", "session_start", "user_engagement",
})
RESERVED_PROPERTIES: Final = frozenset({
    "first_open_time", "first_visit_time", "last_deep_link_referrer", "user_id", "first_open_after_install",
})
# fmt: on
RESERVED_PREFIXES: Final = ("_", "firebase_", "ga_", "google_", "gtag.")

# Source: the component's table; other e-commerce names go through as any name does.
# fmt: off
EVENT_NAMES: Final[Mapping[str, str]] = MappingProxyType({
    "Product List Viewed": "view_item_list", "Products Searched": "view_search_results",
    "Product Clicked": "select_item", "Product Added": "add_to_cart", "Product Added to Wishlist": "add_to_wishlist",
    "Product Removed": "remove_from_cart", "Product Viewed": "view_item", "Cart Viewed": "view_cart",
    "Checkout Started": "begin_checkout", "Checkout Step Completed": "checkout_progress",
    "Payment Info Entered": "add_payment_info", "Shipping Info Entered": "add_shipping_info",
    "Order Completed": "purchase", "Order Refunded": "refund", "Clicked Promotion": "select_promotion",
    "Viewed Promotion": "view_promotion",
})
# fmt: on

# GA4's parameter ← the properties that can give it, the first that is there wins. A value of 0 is a value.
_ECOMMERCE: Final = (
    ("transaction_id", ("order_id", "checkout_id")),
    ("value", ("total", "value", "revenue", "price")),
    ("search_term", ("query",)),
)
_ITEM: Final = (
    ("item_id", ("product_id", "sku")),
    ("item_name", ("name",)),
    ("item_brand", ("brand",)),
    ("item_category", ("category",)),
    ("item_variant", ("variant",)),
    ("index", ("position",)),
    *((name, (name,)) for name in ("price", "quantity", "coupon", "discount")),
)
MAX_LOOKED_AT: Final = 1000
"""Products, and fields of one object, that are looked at; GA4 takes far fewer. Source: assumption."""

_Renames = Sequence[tuple[str, tuple[str, ...]]]
_NUMBERS: Final = frozenset({"value", "tax", "shipping", "price", "quantity", "discount", "index"})
_NOT_PARAMS: Final = frozenset({"client_id", "items", "products"})
RESERVED_PARAMS: Final = frozenset({"engagement_time_msec", "session_id"})  # these two have their own rules below

_name = re.compile(r"[A-Za-z][A-Za-z0-9_]*").fullmatch
_foreign = re.compile(r"[^A-Za-z0-9_]+")
_decimal = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,15})?").fullmatch
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
        if reason := _name_problem(name) or _refusal(event):
            yield Drop(reason)
            return
        client, session = google.client(event), google.session(event, self.measurement_id)
        hit = _Hit(self._scope(event, client.value), encode(_event(event, name, session.value)))
        if len(_body(hit.scope, [hit.event])) >= MAX_BODY_BYTES:
            yield Drop("larger than the 130 kB that GA4 takes in one request")
            return
        yield Send(hit, size=len(hit.event))
        if self.set_cookies and "client_id" not in event.properties:
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
        return known or _cleaned(event.name)

    def _scope(self, event: Event, client_id: str) -> bytes:
        """Return what holds for a whole request. Events with the same scope share requests."""
        scope: dict[str, Any] = {"client_id": client_id}
        if event.user_id and len(event.user_id) <= MAX_USER_ID:
            scope["user_id"] = event.user_id
        properties = {
            name: {"value": _cut(value, MAX_PROPERTY_VALUE)}
            for name in self.user_properties
            if _is_scalar(value := event.properties.get(name))
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


def _event(event: Event, name: str, session_id: str) -> dict[str, Any]:
    """Return the event as GA4 wants it. What comes first stays when there are more than 25 parameters."""
    engaged = _number(event.properties.get("engagement_time_msec"))
    params: dict[str, Any] = {"session_id": session_id, "engagement_time_msec": 1 if engaged is None else engaged}
    if items := _items(event):
        params["items"] = items
    page = {"page_location": event.page.url, "page_title": event.page.title, "page_referrer": event.page.referrer}
    renames = _ECOMMERCE if event.kind == "ecommerce" else ()
    params |= _others_of(page) | _renamed(event.properties, renames) | _others_of(event.properties, renames)
    return {
        "name": name,
        "timestamp_micros": min(event.timestamp_ms, event.recorded_ms) * 1000,
        "params": _first(MAX_PARAMS, params),
    }


def _items(event: Event) -> list[dict[str, Any]]:
    """Return the products: those of the list, or the one that an e-commerce event itself describes."""
    listed = event.properties.get("products", event.properties.get("items"))
    if is_list(listed):
        products = (product for product in islice(listed, MAX_LOOKED_AT) if is_object(product))
        items = _known(_renamed(product, _ITEM) | _others_of(product, _ITEM) for product in products)
    else:
        items = _known([_renamed(event.properties, _ITEM)] if event.kind == "ecommerce" else [])
    return list(islice(items, MAX_ITEMS))


def _known(items: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (_first(MAX_ITEM_PARAMS, item) for item in items if "item_id" in item or "item_name" in item)


def _renamed(source: Mapping[str, Any], renames: _Renames) -> dict[str, Any]:
    """Return the fields for which GA4 has a name of its own; of several that can give one, the first that is there."""
    found = ((target, _scalars(target, (source.get(name) for name in names))) for target, names in renames)
    return {target: values[0] for target, values in found if values}


def _others_of(source: Mapping[str, Any], renames: _Renames = ()) -> dict[str, Any]:
    """Return all other fields that GA4 takes, under their names in GA4's alphabet."""
    renamed = {name for _, names in renames for name in names}
    fields: dict[str, Any] = {}
    for name, value in islice(source.items(), MAX_LOOKED_AT):
        target = _cleaned(name)
        if name not in renamed and name not in _NOT_PARAMS and not _name_problem(target, RESERVED_PARAMS):
            for one in _scalars(target, (value,)):
                fields.setdefault(target, one)
    return fields


def _scalars(target: str, values: Iterable[Any]) -> list[str | int | float]:
    """Return the values that can stand for a field: texts, cut, and numbers. Lists, objects, null and "" cannot."""
    if target in _NUMBERS:
        return [number for value in values if (number := _number(value)) is not None]
    limit = _LONGER.get(target, MAX_VALUE)
    return [_cut(value, limit) for value in values if _is_scalar(value)]


def _cut(value: str | float, limit: int) -> str | int | float:
    """Return a value within GA4's length. Source: assumption, that integers beyond 64 bits are better kept as text."""
    if isinstance(value, int) and abs(value) >= 1 << 63:
        value = str(value)
    return value[:limit] if isinstance(value, str) else value


def _number(value: Any) -> int | float | None:
    """Return a number, also one that is written as a text, as forms send it: ``"200"``; None for all else."""
    if isinstance(value, str) and _decimal(value):
        return float(value) if "." in value else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, float) or abs(value) < 1 << 63 else None


def _first(limit: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    return dict(islice(fields.items(), limit))


def _cleaned(name: str) -> str:
    """Return a name in GA4's alphabet: ``transaction successful`` → ``transaction_successful``."""
    return _foreign.sub(" ", name).strip().replace(" ", "_")


def _name_problem(name: str, reserved: frozenset[str] = RESERVED_EVENTS, longest: int = MAX_NAME) -> str | None:
    if name.startswith(RESERVED_PREFIXES):
        return "the name begins with what GA4 reserves: _, firebase_, ga_, google_, gtag."
    if not _name(name):
        return "GA4 needs a name that begins with a letter a to z"
    if len(name) > longest:
        return f"the name is longer than GA4's {longest} characters"
    return "the name is reserved by GA4" if name in reserved else None


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
    if (trouble := problem_with(_origin(tool.host))) or "/" in _origin(tool.host).partition("://")[2]:
        yield f"host {trouble or 'must be a host alone, without a path'}"
    for name in tool.names.values():
        if trouble := _name_problem(name):
            yield f"names: {name!r} cannot be an event's name: {trouble}"
    if len(tool.user_properties) > MAX_USER_PROPERTIES:
        yield f"user_properties: GA4 takes at most {MAX_USER_PROPERTIES}"
    for name in tool.user_properties:
        if trouble := _name_problem(name, RESERVED_PROPERTIES, MAX_PROPERTY_NAME):
            yield f"user_properties: {name!r} cannot be one: {trouble}"


def _is_scalar(value: Any) -> TypeGuard[str | int | float]:
    return isinstance(value, str | int | float) and value != ""
