"""The address of a database: which are taken, and that no message shows a password."""

from __future__ import annotations

import pytest

from eventmw.archive.database import engine_of
from eventmw.errors import ConfigError
from eventmw.keys.place import keys_engine
from eventmw.keys.schema import KeysAway, transaction

SECRET = "hunter2-secret"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nonsense", "archive is not an address"),
        (f"postgresql+psycopg://site:{SECRET}@db:port/events", "archive is not an address"),
        (f"postgresql+psycopg://site:{SECRET}@db:99999999999x/events", "archive is not an address"),
        (f"mysql://site:{SECRET}@db/events", "must be SQLite or PostgreSQL, not mysql"),
        (
            f"postgresql+pg8000://site:{SECRET}@db/events",
            r"must begin with postgresql\+psycopg://, not postgresql\+pg8000",
        ),
        (f"postgresql+psycopg_async://site:{SECRET}@db/events", r"must begin with postgresql\+psycopg://"),
    ],
)
@pytest.mark.parametrize("opened", [engine_of, lambda address: keys_engine("/nowhere", address)])
def test_what_is_no_address_of_ours_is_said_without_its_password(opened: object, address: str, words: str) -> None:
    assert callable(opened)
    with pytest.raises(ConfigError, match=words) as raised:
        opened(address)
    assert SECRET not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize("address", ["postgresql://site@db/events", "postgresql+psycopg://site@db/events"])
def test_both_forms_of_an_address_mean_the_same_driver(address: str) -> None:
    assert engine_of(address).url.drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    "where",
    [
        f"postgresql+psycopg://site:{SECRET}@127.0.0.1:1/events",
        f"postgresql+psycopg://127.0.0.1:1/events?password={SECRET}",
    ],
)
def test_keys_that_cannot_be_reached_are_told_without_a_password(where: str) -> None:
    """libpq takes a password after the question mark as well."""
    with pytest.raises(KeysAway, match=r"127\.0\.0\.1:1/events") as raised, transaction(engine_of(where)):
        pass
    assert SECRET not in str(raised.value)
