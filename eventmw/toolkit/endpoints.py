"""Addresses that an owner configures: where a tool may send, and why not there.

Layer: pure rules. Whether the address behind a name may be reached is judged later, by the transport.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit


def problem_with(url: str, *, insecure: bool = False) -> str | None:
    """Return why events cannot be sent to `url`, in half a sentence, or None when they can.

    It must be https, since events are people's data; http is for this machine alone, unless `insecure` says that the
    network between is trusted. The address itself is in the configuration, so the message may not repeat it: it can hold
    a secret.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not an address: its host or port cannot be read"
    if not host or parts.scheme not in {"http", "https"}:
        return "must be a full address such as https://example.com/path"
    if not url.isascii() or any(char.isspace() or not char.isprintable() for char in url):
        return "must be ASCII without blanks: write special characters as %XX and the host in its xn-- form"
    return _problem_with_parts(parts, insecure=insecure)


def _problem_with_parts(parts: SplitResult, *, insecure: bool) -> str | None:
    if parts.username is not None or parts.password is not None:
        return "must not hold a user and password: use headers={'authorization': env(…)}"
    if parts.fragment:
        return "must not have a fragment: the part after # is never sent"
    if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname or ""):
        return "must be https, or plain http would show people's data on the way (insecure=True allows it)"
    return None


def is_loopback(host: str) -> bool:
    """Return whether a host, a name or an address, is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
