"""Secrets show themselves only when they are asked to."""

from __future__ import annotations

import copy
import dataclasses
import logging
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.errors import ConfigError
from eventmw.secret import EnvSecret, Secret, env, reveal

WORD = "hunter2-hunter2"


@given(st.text(alphabet="xyz123", min_size=8))
def test_no_way_of_printing_shows_it(word: str) -> None:
    secret = Secret(word)
    shown = f"{secret} {secret!r} {secret!s} {[secret]} { ({'a': secret}) }" + "%s %r" % (secret, secret)  # noqa: UP031 - a way of printing
    assert word not in shown
    assert secret.reveal() == word


def test_no_dataclass_log_or_traceback_shows_it(caplog: pytest.LogCaptureFixture) -> None:
    @dataclasses.dataclass
    class Tool:
        key: Secret

    tool = Tool(Secret(WORD))
    logging.getLogger("test").warning("%s %r", tool, dataclasses.asdict(tool))
    try:
        raise ValueError(tool, tool.key)
    except ValueError:
        assert WORD not in traceback.format_exc()
    assert WORD not in caplog.text


def test_it_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(Secret(WORD))


def test_equality_and_hash_are_those_of_the_value() -> None:
    assert Secret(WORD) == Secret(WORD)
    assert Secret(WORD) != Secret(WORD + "x")
    assert Secret(WORD) != WORD
    assert len({Secret(WORD), Secret(WORD)}) == 1
    assert hash(Secret(WORD)) != hash(WORD)
    secret = Secret(WORD)
    assert copy.copy(secret) is copy.deepcopy(secret) is secret


def test_a_secret_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = env("SOME_TEST_SECRET")
    assert secret == EnvSecret("SOME_TEST_SECRET")
    for absent in (None, ""):
        monkeypatch.delenv("SOME_TEST_SECRET", raising=False)
        if absent is not None:
            monkeypatch.setenv("SOME_TEST_SECRET", absent)
        with pytest.raises(ConfigError, match="SOME_TEST_SECRET is not set"):
            secret.reveal()
    monkeypatch.setenv("SOME_TEST_SECRET", WORD)
    assert secret.reveal() == WORD
    assert WORD not in repr(secret)


def test_any_secret_is_revealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TEST_SECRET", WORD)
    assert {reveal(WORD), reveal(Secret(WORD)), reveal(env("SOME_TEST_SECRET"))} == {WORD}
