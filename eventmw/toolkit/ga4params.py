"""GA4's vocabulary: the names it takes and reserves, and an event's parameters within its limits.

Layer: pure rules. The sources of all limits stand in `eventmw.tools.ga4`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, TypeGuard
from unicodedata import category, normalize

from eventmw.event import Event
from eventmw.jsontext import is_list, is_object

MAX_PARAMS: Final = 25
MAX_NAME: Final = 40
MAX_VALUE: Final = 100
MAX_ITEMS: Final = 200  # Source: assumption; no page that was read says it
MAX_ITEM_PARAMS: Final = 27
"""The fields of an item that Google names and up to 27 of one's own; all are counted here. Source: support 9267744."""

_LONGER: Final = {"page_location": 1000, "page_referrer": 420, "page_title": 300}

# Sources: the Measurement Protocol's reference, «reserved names»; Firebase's reference of logEvent; the help page 13316687,
# «Mobile apps»; ga-dev-tools, formatCheckLib.ts, for app_install and screen_view. The help page names for the web also what
# Google's own tag collects by itself (click, scroll, page_view, view_search_results, …): those names may be used.
# fmt: off
RESERVED_EVENTS: Final = frozenset({
    "ad_activeview", "ad_click", "ad_exposure", "ad_impression", "ad_query", "ad_reward", "adunit_exposure",
    "app_background", "app_clear_data", "app_exception", "app_install", "app_remove", "app_store_refund",
    "app_store_subscription_cancel", "app_store_subscription_convert", "app_store_subscription_renew", "app_update",
    "app_upgrade", "dynamic_link_app_open", "dynamic_link_app_update", "dynamic_link_first_open", "error",
    "firebase_campaign", "firebase_in_app_message_action", "firebase_in_app_message_dismiss",
    "firebase_in_app_message_impression", "first_open", "first_visit", "in_app_purchase", "notification_dismiss",
    "notification_foreground", "notification_open", "notification_receive", "notification_send", "os_update",
    "screen_view", "session_start", "session_start_with_rollout", "user_engagement",
})
# Source: the help page, «Reserved user property names»; the reference.
RESERVED_PROPERTIES: Final = frozenset({
    "cid", "customer_id", "customerid", "first_open_after_install", "first_open_time", "first_visit_time",
    "google_allow_ad_personalization_signals", "last_advertising_id_reset", "last_deep_link_referrer", "last_gclid",
    "lifetime_user_engagement", "non_personalized_ads", "session_id", "session_number", "sessionid", "sfmc_id", "sid",
    "uid", "user_id", "userid",
})
# fmt: on
RESERVED_PREFIXES: Final = ("_", "firebase_", "ga_", "google_", "gtag.")
_RESERVED_ON_THE_WEB: Final = "query_id"
"""The one prefix that is reserved for events of websites. Source: the help page, «Web»."""

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
# Source: the help page, «Reserved event parameter names», but for currency, which an order needs. The first two have their
# own rules below.
# fmt: off
RESERVED_PARAMS: Final = frozenset({
    "engagement_time_msec", "session_id", "cid", "customer_id", "customerid", "dclid", "firebase_conversion", "gclid",
    "session_number", "sessionid", "sfmc_id", "sid", "srsltid", "uid", "user_id", "userid",
})
# fmt: on

_foreign = re.compile(r"[^A-Za-z0-9_]+")
_blanks = re.compile(r" +")
MAX_CLEANED: Final = 1000
"""Characters of a name that are looked at: one that is longer than 40 is not sent anyway."""
_decimal = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,15})?").fullmatch


def event_object(event: Event, name: str, session_id: str) -> dict[str, Any]:
    """Return ``{"name", "timestamp_micros", "params"}``, as GA4 wants it.

    What comes first stays when there are more than 25 parameters.
    """
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
        target = cleaned(name)
        if name not in renamed and name not in _NOT_PARAMS and not name_problem(target, RESERVED_PARAMS):
            for one in _scalars(target, (value,)):
                fields.setdefault(target, one)
    return fields


def _scalars(target: str, values: Iterable[Any]) -> list[str | int | float]:
    """Return the values that can stand for a field: texts, cut, and numbers. Lists, objects, null and "" cannot."""
    if target in _NUMBERS:
        return [number for value in values if (number := _number(value)) is not None]
    limit = _LONGER.get(target, MAX_VALUE)
    return [cut(value, limit) for value in values if is_scalar(value)]


def cut(value: str | float, limit: int) -> str | int | float:
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


def cleaned(name: str) -> str:
    """Return a name with the letters and digits of any script and ``_``, all else one ``_``: ``a b`` → ``a_b``.

    Google's sources differ: the help page has «English and non-English words and letters», the pattern of its Event Builder
    a to z alone. The help page is followed, since the other would lose every name without a Latin letter.
    """
    if not name.isascii():
        name = "".join(char if _belongs(char) else " " for char in normalize("NFC", name[:MAX_CLEANED]))
    return _blanks.sub("_", (_foreign.sub(" ", name) if name.isascii() else name).strip())


def _belongs(char: str) -> bool:
    """Return whether a character is a letter, a mark on one (as the vowels of Hindi and Thai are), a digit or ``_``."""
    kind = category(char)
    return kind[0] in "LM" or kind == "Nd" or char == "_"


def name_problem(name: str, reserved: frozenset[str] = RESERVED_EVENTS, longest: int = MAX_NAME) -> str | None:
    """Return why GA4 would not take a name; None when it does."""
    if name.startswith(RESERVED_PREFIXES):
        return "the name begins with what GA4 reserves: _, firebase_, ga_, google_, gtag."
    if reserved is RESERVED_EVENTS and name.startswith(_RESERVED_ON_THE_WEB):
        return f"the name begins with what GA4 reserves: {_RESERVED_ON_THE_WEB}"
    if not name[:1].isalpha() or name != cleaned(name):
        return "GA4 needs a name that begins with a letter, and has nothing but letters, digits and _"
    if len(name) > longest:
        return f"the name is longer than GA4's {longest} characters"
    return "the name is reserved by GA4" if name in reserved else None


def is_scalar(value: Any) -> TypeGuard[str | int | float]:
    """Return whether a value can be a parameter's: a text, not empty, or a number."""
    return isinstance(value, str | int | float) and value != ""
