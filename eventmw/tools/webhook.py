"""Webhook: events in batches to any https address, signed.

One request is ``POST`` with ``{"events": [event, …]}``, each event as `eventmw.toolkit.eventjson.as_json` has it, and::

    content-type: application/json
    idempotency-key, webhook-id: the same value, a function of the events' ids: the same batch has the same one
    webhook-timestamp: seconds since 1970
    webhook-signature: v1,<base64 of HMAC-SHA256 over "<webhook-id>.<webhook-timestamp>.<body>">

The signature is that of Standard Webhooks, so its libraries verify it. Timestamp and signature are made at each attempt
(`HttpRequest.at_send`), since receivers refuse old ones, and an event may wait for days.

Layer: pure rules. Source: Standard Webhooks 1.0.0 (https://github.com/standard-webhooks/standard-webhooks, spec/
standard-webhooks.md) for headers, signature, secrets and rotation; draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple

from eventmw.contract import Delivery, When, verdict_by_status
from eventmw.effects import Packed, Send, Verdict, retry
from eventmw.errors import ConfigError
from eventmw.event import Event
from eventmw.http import Headers, HttpReply, HttpRequest
from eventmw.jsontext import encode
from eventmw.retry import retry_after_s
from eventmw.secret import AnySecret, Secret, copying_problem, known, reveal
from eventmw.toolkit.endpoints import problem_with
from eventmw.toolkit.eventjson import as_json
from eventmw.toolkit.packing import batches

_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_value = re.compile(r"[\x20-\x7e]*").fullmatch
_OURS: Final = frozenset({"content-length", "content-type", "host", "idempotency-key", "transfer-encoding"})

_PREFIX: Final = "whsec_"
_ASYMMETRIC: Final = ("whsk_", "whpk_", "v1a,")
MIN_KEY: Final = 24
MAX_KEY: Final = 64
"""Bytes of a key. Source: Standard Webhooks, «Signature scheme»: between 24 bytes (192 bits) and 64 bytes (512 bits)."""

_OPENING: Final = b'{"events":['
_CLOSING: Final = b"]}"

# The address is wrong or moved: no event is at fault, and the next one would fare no better. Redirects are not followed.
_ADDRESS_TROUBLE: Final = frozenset({*range(300, 400), 404, 405, 410})

_DELIVERY: Final = Delivery(timeout_s=15.0)  # Source: Standard Webhooks, «Request timeouts»: 15 to 30 s


class _Line(NamedTuple):
    """One event ready to go: its id, when it was recorded in seconds since 1970, and its JSON."""

    id: str
    json: bytes


@dataclass(frozen=True, slots=True)
class Webhook:
    """Send events to an address of the owner's.

    Attributes:
        url: where to; https, or http to this machine.
        secret: signs the requests; ``whsec_`` and the base64 of 24 to 64 bytes, as ``eventmw new-secret`` prints it, or any
            other text, whose UTF-8 is the key. None: no signature.
        old_secret: while a secret is changed, the one before: requests carry a signature of each.
        headers: further header fields, such as ``{"authorization": env("HOOK_TOKEN")}``.
        batch: most events in one request, 1 to 10,000.
        max_bytes: most bytes of one body; an event that is larger by itself goes alone. Source: assumption.
        cookies: send the visitor's cookies as well.
        insecure: allow plain http to another machine.
        id: the tool's durable id.
        when: which events it gets; None for all.
        delivery: order, time-outs and caps.

    Raises:
        ConfigError: any of this cannot work; all problems at once.
    """

    url: str = field(repr=False)
    secret: AnySecret | None = field(default=None, repr=False)
    old_secret: AnySecret | None = field(default=None, repr=False)
    headers: Mapping[str, AnySecret] = field(default_factory=dict[str, AnySecret], repr=False, hash=False)
    batch: int = 100
    max_bytes: int = 256 * 1024
    cookies: bool = False
    insecure: bool = False
    id: str = "webhook"
    when: When = None
    delivery: Delivery = _DELIVERY

    def __post_init__(self) -> None:
        problems = [*_problems(self)]
        if problems:
            raise ConfigError(f"Webhook: {problem}" for problem in problems)
        object.__setattr__(self, "secret", _hidden(self.secret))
        object.__setattr__(self, "old_secret", _hidden(self.old_secret))
        headers = {name.lower(): _hidden(value) for name, value in self.headers.items()}
        object.__setattr__(self, "headers", MappingProxyType(headers))

    def handle(self, event: Event) -> Iterator[Send]:
        """Want the event sent."""
        data = encode(as_json(event, cookies=self.cookies))
        yield Send(_Line(event.id, data), size=len(data))

    def pack(self, items: Sequence[Send]) -> Iterable[Packed]:
        """Fill requests in order, within `batch` events and `max_bytes` bytes."""
        frame = len(_OPENING) + len(_CLOSING)
        for batch in batches(items, max_items=self.batch, max_bytes=self.max_bytes, frame=frame):
            yield self._packed(batch)

    def verdict(self, reply: HttpReply, items: Sequence[Send]) -> Sequence[Verdict]:
        """Judge by the status; when the address is the trouble (3xx, 404, 405, 410), keep the events and try again."""
        if reply.status in _ADDRESS_TROUBLE:
            after_s = retry_after_s(reply.headers.get("retry-after"), reply.headers.get("date"))
            return [retry(f"HTTP {reply.status}: check the webhook's address", after_s)] * len(items)
        return verdict_by_status(reply, items)

    def _packed(self, items: Sequence[Send]) -> Packed:
        lines: list[_Line] = [item.payload for item in items]
        body = b"".join((_OPENING, b",".join(line.json for line in lines), _CLOSING))
        ident = _batch_id(line.id for line in lines)
        fields = {
            **{name: reveal(value) for name, value in self.headers.items()},
            "content-type": "application/json",
            "idempotency-key": ident,
            "webhook-id": ident,
        }
        signed = partial(self._signed, ident, body)
        return Packed(HttpRequest("POST", self.url, tuple(fields.items()), body, signed), tuple(items))

    def _signed(self, ident: str, body: bytes, now_s: int) -> Headers:
        """Return the fields that say when this attempt is made, and that it is ours."""
        timestamp = str(now_s)
        secrets = [reveal(secret) for secret in (self.secret, self.old_secret) if secret is not None]
        signatures = " ".join(sign(secret, ident, timestamp, body) for secret in secrets)
        return (("webhook-timestamp", timestamp), *((("webhook-signature", signatures),) if secrets else ()))


def sign(secret: str, ident: str, timestamp: str, body: bytes) -> str:
    """Return one signature, ``v1,<base64>``. Source: Standard Webhooks, «Signature scheme»."""
    signed = b"%b.%b.%b" % (ident.encode(), timestamp.encode(), body)
    return "v1," + base64.b64encode(hmac.digest(_key(secret), signed, "sha256")).decode()


def verify(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether a request that came is one that `Webhook` signed with this secret, for receivers in Python.

    Args:
        secret: the secret of the `Webhook`.
        headers: the request's header fields, with lower-case names.
        body: its bytes as they came; JSON that was decoded and encoded again does not verify.

    A signature does not stop a replay: remember each ``webhook-id`` for as long as ``webhook-timestamp`` is accepted.
    """
    expected = sign(secret, headers.get("webhook-id", ""), headers.get("webhook-timestamp", ""), body).encode()
    sent = headers.get("webhook-signature", "").encode().split(b" ")
    return any([hmac.compare_digest(expected, one) for one in sent])  # noqa: C419 - compare all: no early way out


def new_secret(key: bytes) -> str:
    """Return the secret of a key, as this tool and the libraries of Standard Webhooks take it. Keys have 24 to 64 bytes."""
    return _PREFIX + base64.b64encode(key).decode()


def _key(secret: str) -> bytes:
    """Return the key behind a secret: what base64 after ``whsec_`` stands for, or the UTF-8 of any other text.

    Some services show ``v1,`` in front, the version of the signatures; it is no part of the secret.

    Raises:
        ConfigError: it begins with ``whsec_`` and goes on with something else than base64.
    """
    bare = _bare(secret)
    if not bare.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(bare.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(["Webhook: the secret begins with whsec_, so base64 has to follow; copy it whole"]) from None


def _bare(secret: str) -> str:
    without = secret.removeprefix("v1,")
    return without if without.startswith(_PREFIX) else secret


def _batch_id(ids: Iterable[str]) -> str:
    """Return an id that the same events in the same order always have. It has no dot, so it cannot shift the signed text."""
    return f"evb_{hashlib.sha256(encode(list(ids))).hexdigest()[:32]}"


def _hidden(secret: AnySecret | None) -> AnySecret | None:
    return Secret(secret) if isinstance(secret, str) else secret


def _problems(tool: Webhook) -> Iterator[str]:
    if trouble := problem_with(tool.url, insecure=tool.insecure):
        yield f"url {trouble}"
    if not 1 <= tool.batch <= 10_000:  # noqa: PLR2004 - said in the message
        yield "batch must be 1 to 10,000 events"
    if tool.max_bytes < 1:
        yield "max_bytes must be a positive number of bytes"
    for name, secret in (("secret", tool.secret), ("old_secret", tool.old_secret)):
        if trouble := _secret_problem(known(secret)):
            yield f"{name} {trouble}"
    yield from _header_problems(tool.headers)


def _secret_problem(secret: str | None) -> str | None:
    """Return why a secret cannot sign, in half a sentence that does not repeat it; None when it can."""
    if not secret:
        return None if secret is None else "is empty; leave it out to send unsigned, or name a variable with env(…)"
    if secret.lower().startswith(_ASYMMETRIC):
        return (
            "is a key of a pair (whsk_, whpk_), and this tool signs with a shared secret: one that begins with whsec_"
        )
    is_encoded = secret.lower().removeprefix("v1,").startswith(_PREFIX)
    return copying_problem(secret) or (_encoded_problem(secret) if is_encoded else None)


def _encoded_problem(secret: str) -> str | None:
    if not _bare(secret).startswith(_PREFIX):
        return "begins with whsec_, which is written in small letters"
    try:
        length = len(_key(secret))
    except ConfigError:
        return "begins with whsec_, so base64 has to follow; copy it whole"
    if MIN_KEY <= length <= MAX_KEY:
        return None
    return (
        f"must be whsec_ and the base64 of {MIN_KEY} to {MAX_KEY} bytes, and has {length}; "
        "`eventmw new-secret` prints a good one"
    )


def _header_problems(headers: Mapping[str, AnySecret]) -> Iterator[str]:
    for name, value in headers.items():
        if not _token(name):
            yield f"headers: {name!r} is no name of a header field"
        elif name.lower() in _OURS or name.lower().startswith("webhook-"):
            yield f"headers: {name} is set by the webhook itself"
        elif not _value(known(value) or ""):
            yield f"headers: the value of {name} must be printable ASCII on one line"
