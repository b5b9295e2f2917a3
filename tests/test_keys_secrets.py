"""How secrets look, and what is kept of them."""

from __future__ import annotations

import hashlib
import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.keys import KeyKind
from eventmw.keys.secrets import CHANCE_BYTES, ID_BYTES, digest_of, id_in, is_right, make, new_id, visible

CHANCE = st.binary(min_size=CHANCE_BYTES, max_size=CHANCE_BYTES)
KINDS: st.SearchStrategy[KeyKind] = st.sampled_from(get_args(KeyKind))


@given(KINDS, CHANCE)
def test_a_secret_names_its_kind_and_id_and_is_right(kind: KeyKind, chance: bytes) -> None:
    made = make(kind, chance)
    shown = made.shown.reveal()
    assert re.fullmatch(r"eb_[a-z]+_[0-9A-Za-z]{11}_[0-9A-Za-z]{43}", shown)
    assert shown.startswith(visible(kind, made.id) + "_")
    assert id_in(shown) == made.id
    assert made.digest == hashlib.sha256(shown.encode()).digest()
    assert is_right(shown, made.digest)
    assert shown not in repr(made)


@given(KINDS, CHANCE, CHANCE)
def test_all_the_chance_is_in_it(kind: KeyKind, one: bytes, other: bytes) -> None:
    """PROTOCOLS.md 3.2: 256 random bits. Different chance, different secrets; none is lost in writing it."""
    made, again = make(kind, one), make(kind, other)
    assert (made.shown == again.shown) == (one == other)
    assert (made.id == again.id) == (one[:ID_BYTES] == other[:ID_BYTES])


@pytest.mark.parametrize("chance", [b"\x00" * CHANCE_BYTES, b"\xff" * CHANCE_BYTES])
def test_the_least_and_the_greatest_fit(chance: bytes) -> None:
    assert id_in(make("write", chance).shown.reveal()) == new_id(chance[:ID_BYTES])


@given(KINDS, CHANCE, st.text(max_size=80) | st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3))
def test_another_text_is_not_right(kind: KeyKind, chance: bytes, other: str) -> None:
    made = make(kind, chance)
    assert not is_right(other, made.digest)
    assert not is_right(made.shown.reveal() + other, made.digest) or other == ""
    assert id_in(other) is None
    assert len(digest_of(other)) == 32


def test_nobody_has_a_digest_of_zeros() -> None:
    assert not is_right("", None)
    assert not is_right(make("write", bytes(CHANCE_BYTES)).shown.reveal(), None)


@given(CHANCE)
def test_the_kind_is_part_of_the_secret(chance: bytes) -> None:
    """Whoever writes another kind in front of a secret has another secret."""
    made = make("write", chance)
    assert not is_right(made.shown.reveal().replace("_write_", "_delete_"), made.digest)


def test_chance_of_another_length_makes_nothing() -> None:
    with pytest.raises(ValueError, match="40 random bytes, not 32"):
        make("write", bytes(32))
