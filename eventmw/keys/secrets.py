"""How a secret looks, what it says of itself, and what is kept of it: its digest.

``eb_write_4fQ8x0Zk2Lm_…``: the kind and the id stand in front, visible, so that a key that turns up somewhere can be
named and revoked. The 43 characters behind them are 256 bits of chance. A secret as random as that needs no slow hash:
nobody guesses it, however fast.

Layer: pure rules; chance is an argument. Source: PROTOCOLS.md 3.2; the form is ours.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

from eventmw.keys import KeyKind
from eventmw.secret import Secret

SECRET_BYTES: Final = 32
ID_BYTES: Final = 8
"""Ids only have to differ: of a million of them, two are alike once in 37 million databases."""

CHANCE_BYTES: Final = ID_BYTES + SECRET_BYTES

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_WIDTH: Final = 11
_SECRET_WIDTH: Final = 43
_form = re.compile(
    rf"(eb_(?:account|project|write|query|delete)_([0-9A-Za-z]{{{_ID_WIDTH}}}))_[0-9A-Za-z]{{{_SECRET_WIDTH}}}"
).fullmatch

_NOBODYS: Final = bytes(hashlib.sha256().digest_size)


@dataclass(frozen=True, slots=True)
class Made:
    """A new key: its id, its secret, which is shown once, and the digest, which is kept."""

    id: str
    shown: Secret
    digest: bytes


def make(kind: KeyKind, chance: bytes) -> Made:
    """Return a new key of `CHANCE_BYTES` random bytes."""
    if len(chance) != CHANCE_BYTES:
        raise ValueError(f"a key is made of {CHANCE_BYTES} random bytes, not {len(chance)}")
    ident = new_id(chance[:ID_BYTES])
    shown = f"{visible(kind, ident)}_{_digits(chance[ID_BYTES:], _SECRET_WIDTH)}"
    return Made(ident, Secret(shown), digest_of(shown))


def new_id(chance: bytes) -> str:
    """Return an id of `ID_BYTES` random bytes."""
    return _digits(chance, _ID_WIDTH)


def visible(kind: KeyKind, ident: str) -> str:
    """Return what a key's secret begins with, and what may be shown of it."""
    return f"eb_{kind}_{ident}"


def id_in(shown: str) -> str | None:
    """Return the id that a secret names; None when it is none of ours. Whether it is right, only `is_right` says."""
    found = _form(shown)
    return found[2] if found else None


def digest_of(shown: str) -> bytes:
    """Return the 32 bytes that are kept of a secret. What a header held may be no Unicode, and has a digest all the same."""
    return hashlib.sha256(shown.encode("utf-8", "surrogatepass")).digest()


def is_right(shown: str, digest: bytes | None) -> bool:
    """Return whether a secret is the one whose digest is kept; in the same time, whatever is wrong with it.

    Of an id that nobody has, the digest is None.
    """
    same = hmac.compare_digest(digest_of(shown), _NOBODYS if digest is None else digest)
    return same and digest is not None


def _digits(chance: bytes, width: int) -> str:
    number, digits = int.from_bytes(chance, "big"), ""
    for _ in range(width):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
