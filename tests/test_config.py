"""The configuration is checked as a whole, and every problem is said at once."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any, cast

import pytest

from eventmw.config import RESERVED, Config, Limits
from eventmw.contract import FunctionTool, consumer
from eventmw.effects import Send
from eventmw.errors import ConfigError
from eventmw.secret import Secret, env

A = FunctionTool("a", lambda _: Send("x"))
LONG = "k" * 16
BAD: list[tuple[str, Any, str]] = [
    ("path", "zaraz", "path must start with /"),
    ("path", "/a b", "path must start with /"),
    ("path", "/a%20b", "path must start with /"),
    ("path", "/a?b", "path must start with /"),
    ("path", "/é", "path must start with /"),
    ("path", "", "path must start with /"),
    ("path", 5, "path must start with /"),
    ("path", "/", "front page"),
    ("tools", "ga4", "tools must be a list"),
    ("tools", [A, A], "two tools have the id 'a'"),
    ("tools", [FunctionTool], "write FunctionTool"),
    ("tools", [object()], "no handle"),
    ("tools", [FunctionTool("b", lambda _: None, when=cast(Any, iter("ab")))], "when must be"),
    ("consumers", {"a"}, "consumers must be a list"),
    ("data_dir", "", "data_dir"),
    ("data_dir", 5, "data_dir must be the path of a folder, as text or as a pathlib.Path"),
    ("archive", Path("archive.sqlite3"), "archive must be an address"),
    ("journal", "nats://x", "journal must be one of"),
    ("courier", "process", "courier must be one of"),
    ("batch", "all", "batch must be one of"),
    ("receipt", "long", "receipt must be one of"),
    ("receipt", 0, "receipt must be one of"),
    ("receipt", None, "receipt must be one of"),
    ("receipt", [], "receipt must be one of"),
    ("envelope", "list", "envelope must be one of"),
    ("strict", "yes", "strict must be one of"),
    ("strict", 1, "strict must be one of"),
    ("dry_run", None, "dry_run must be one of"),
    ("keys", LONG, "keys must be a list"),
    ("keys", 5, "keys must hold texts"),
    ("keys", [None], "keys must hold texts"),
    ("keys", [], "keys is empty"),
    ("keys", {}, "keys is empty"),
    ("keys", ["short"], "'key-1' is shorter than 16"),
    ("keys", {"a": "é" * 16}, "'a' must be ASCII"),
    ("keys", {"a": LONG + " "}, "'a' must be ASCII"),
    ("keys", {"a": LONG, "b": LONG}, "two keys are the same"),
    ("keys", {"anonymous": LONG}, "cannot be named 'anonymous'"),
    ("keys", {"track": LONG}, "cannot be named 'track'"),
    ("keys", {5: LONG}, "cannot be named 5"),
    ("keys", [env("EVENTMW_TEST_ABSENT")], "EVENTMW_TEST_ABSENT is not set"),
    ("allowed_origins", "https://a.example", "allowed_origins must be a list"),
    ("allowed_origins", ["https://a.example/"], "is not an origin"),
    ("allowed_origins", ["a.example"], "is not an origin"),
    ("allowed_origins", ["*"], "is not an origin"),
    ("allowed_origins", ["https://A.example"], "lower case"),
    ("allowed_origins", ["http://["], "is not an origin"),
    ("allowed_origins", ["http://a:b"], "is not an origin"),
    ("allowed_origins", ["https://a.example:443"], "write 'https://a.example'"),
    ("allowed_origins", ["https://münchen.example"], "write 'https://xn--mnchen-3ya.example'"),
    ("allowed_origins", ["https://*.a.example"], "list each origin"),
    ("allowed_origins", ["https://ann:pass@a.example"], r"'https://…@a.example' is not an origin"),
    ("frame_ancestors", ["null"], "an origin such as"),
    ("frame_ancestors", ["https://A.example"], "write 'https://a.example'"),
    ("frame_ancestors", ["https://*.a.example:443"], "write 'https://*.a.example'"),
    ("frame_ancestors", ["app://a;script-src"], "letters, digits"),
    ("frame_ancestors", "'self'", "frame_ancestors must be a list"),
    ("frame_ancestors", [], "frame_ancestors must be a list"),
    ("frame_ancestors", ["self"], "is not whom a page can be framed by"),
    ("frame_ancestors", ["*"], "is not whom a page can be framed by"),
    ("frame_ancestors", ["https://a.example/path"], "is not whom a page can be framed by"),
    ("frame_ancestors", ["https://a.example; script-src *"], "is not whom a page can be framed by"),
    ("frame_ancestors", ["https://a.example\r\nset-cookie: a=b"], "is not whom a page can be framed by"),
    ("frame_ancestors", [5], "is not whom a page can be framed by"),
    ("frame_ancestors", ["'none'", "'self'"], "stands alone"),
    ("trusted_proxies", -1, "trusted_proxies"),
    ("person_fields", "user_id", "person_fields must be a list"),
    ("person_fields", ["user_id", "system..uid"], "person_fields: 'system..uid'"),
    ("person_fields", [5], "person_fields: 5"),
    ("trusted_proxies", True, "trusted_proxies"),
    ("limits", {"max_events": 5}, "limits must be an eventmw.Limits"),
    ("limits", Limits(max_events=0), "limits.max_events must be a number above 0"),
    ("limits", Limits(max_events=1.5), "limits.max_events must be a whole number"),  # type: ignore[arg-type]  # as from a file
    ("limits", Limits(body_timeout_s=float("nan")), "limits.body_timeout_s"),
    ("limits", Limits(append_timeout_s=float("inf")), "limits.append_timeout_s"),
    ("limits", Limits(requests_per_s=0), "limits.requests_per_s"),
    ("limits", Limits(burst=True), "limits.burst"),
    ("limits", Limits(max_depth=7), "at least 8"),
    ("on_outcome", "x", "on_outcome must be callable"),
]


@pytest.mark.parametrize(("name", "value", "words"), BAD)
def test_a_setting_that_cannot_work(name: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**{name: value})
    assert len(caught.value.problems) == 1
    assert words in caught.value.problems[0]


def test_a_memory_journal_needs_a_courier_in_its_process() -> None:
    with pytest.raises(ConfigError, match="nobody can deliver"):
        Config(journal="memory", courier="off")
    assert Config(courier="off").journal == "file"


def test_all_problems_at_once_and_no_key_among_them() -> None:
    options: Any = {
        "path": "x",
        "batch": "?",
        "keys": {"a": "hunter2"},
        "allowed_origins": ["*"],
        "trusted_proxies": -1,
    }
    with pytest.raises(ConfigError) as caught:
        Config(**options)
    assert len(caught.value.problems) == 5
    assert "hunter2" not in str(caught.value)


GOOD: list[tuple[str, Any]] = [
    ("path", "/zaraz/api"),
    ("path", "/a~!$&'()*+,;=:@-._/b"),
    ("tools", [A, FunctionTool("a-2", lambda _: None)]),
    ("consumers", [consumer("crm")(lambda _: None)]),
    ("receipt", False),
    (
        "allowed_origins",
        ["https://a.example", "http://localhost:8000", "null", "http://[::1]:8080", "capacitor://localhost"],
    ),
    ("frame_ancestors", ["'self'", "https://shop.example", "https://*.example.com", "http://localhost:8000"]),
    (
        "frame_ancestors",
        ["https:", "capacitor://localhost", "chrome-extension://abcdefghijklmnop", "app://obsidian.md"],
    ),
    ("frame_ancestors", ("'none'",)),
    ("limits", Limits(requests_per_s=0.5, body_timeout_s=1)),
]


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_a_setting_that_works(name: str, value: Any) -> None:
    assert getattr(Config(**{name: value}), name) == value


def test_the_defaults_work_and_answer_nothing() -> None:
    assert Config().path is None


def test_keys_have_names() -> None:
    assert Config().named_keys == {}
    assert Config(keys=[LONG, "o" * 16]).named_keys == {"key-1": LONG, "key-2": "o" * 16}
    assert Config(keys={"shop": Secret(LONG)}).named_keys == {"shop": LONG}
    for config in (Config(keys={"shop": LONG}), Config(keys=[LONG])):
        assert LONG not in repr(config) + repr(dataclasses.asdict(config)) + repr(vars(config))
    with pytest.raises(ConfigError) as swapped:
        Config(keys={LONG: "shop"})
    assert LONG not in str(swapped.value)


def test_a_consumer_and_a_tool_share_one_space_of_ids() -> None:
    with pytest.raises(ConfigError, match="two tools have the id 'a'"):
        Config(tools=[A], consumers=[consumer("a")(lambda _: None)])


def test_tools_come_before_consumers_in_their_order() -> None:
    config = Config(tools=[FunctionTool("z", lambda _: None), A], consumers=[consumer("crm")(lambda _: None)])
    assert [tool.id for tool in config.bound_tools] == ["z", "a", "crm"]


def test_reserved_names_are_the_credentials_that_eventmw_gives() -> None:
    from eventmw.intake.door import ANONYMOUS
    from eventmw.tracking import TRACKED

    assert frozenset({ANONYMOUS, TRACKED}) == RESERVED


def test_every_limit_is_documented() -> None:
    text = inspect.getdoc(Limits) or ""
    assert all(f"    {field.name}: " in text for field in dataclasses.fields(Limits))


def test_settings_that_are_paths_take_a_path() -> None:
    config = Config(data_dir=cast(Any, Path("a/b")), geoip=cast(Any, Path("x.mmdb")), eventbunker_path="/eb")
    assert (config.data_dir, config.geoip) == ("a/b", "x.mmdb")
