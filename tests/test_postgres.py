"""The PostgreSQL that tests are given: it is real, each test has a database of its own, and it can be away."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text

from tests.postgres import Postgres


@pytest.mark.parametrize("_again", [1, 2])
def test_a_database_of_ones_own_is_empty(postgres: str, _again: int) -> None:
    engine = create_engine(postgres)
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")) == 0
        connection.execute(text("CREATE TABLE left_behind (id int)"))
    engine.dispose()


def test_a_database_can_be_away_and_come_back(postgres_server: Postgres, postgres: str) -> None:
    address = make_url(postgres).set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg.connect(address)) as connection, postgres_server.away(address.rpartition("/")[2]):
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(address)
    with closing(psycopg.connect(address)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
