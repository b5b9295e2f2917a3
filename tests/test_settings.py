"""Settings from code, the environment and a file: which wins, and what is said of a mistake."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any, cast

import pytest

import eventmw
from eventmw.config import Config, Limits, Settings
from eventmw.errors import ConfigError
from eventmw.secret import EnvSecret, Secret, env, reveal
from eventmw.settings import complete, from_toml
from eventmw.tools import Console, File, Webhook
from tests.gateways import both


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "eventmw.toml"
    file.write_text(text)
    return file


def test_code_wins_over_a_variable_and_a_variable_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, 'path = "/file"\nbatch = "atomic"\nreceipt = "full"\n')
    monkeypatch.setenv("EVENTMW_PATH", "/variable")
    monkeypatch.setenv("EVENTMW_BATCH", "independent")
    assert complete({"path": "/code"}).path == "/code"
    assert complete({}).path == "/variable"
    config = complete(from_toml(file))
    assert (config.path, config.batch, config.receipt) == ("/variable", "independent", "full")


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("DATA_DIR", "/srv/x", "data_dir", "/srv/x"),
        ("EVENTBUNKER_PATH", "/eb", "eventbunker_path", "/eb"),
        ("ARCHIVE", "postgresql://x:y@z/d", "archive", Secret("postgresql://x:y@z/d")),
        ("STRICT", "1", "strict", True),
        ("STRICT", "No", "strict", False),
        ("DRY_RUN", "true", "dry_run", True),
        ("RECEIPT", "off", "receipt", False),
        ("RECEIPT", "full", "receipt", "full"),
        ("TRUSTED_PROXIES", "2", "trusted_proxies", 2),
        ("ALLOWED_ORIGINS", "https://a.example,null", "allowed_origins", ["https://a.example", "null"]),
        ("FRAME_ANCESTORS", "'self',https://a.example", "frame_ancestors", ["'self'", "https://a.example"]),
        ("LIMITS_MAX_EVENTS", "5", "limits", Limits(max_events=5)),
        ("LIMITS_REQUESTS_PER_S", "0.5", "limits", Limits(requests_per_s=0.5)),
    ],
)
def test_variables(monkeypatch: pytest.MonkeyPatch, variable: str, text: str, name: str, value: Any) -> None:
    monkeypatch.setenv("EVENTMW_" + variable, text)
    config = complete({})
    assert (config.named_keys if name == "keys" else getattr(config, name)) == value


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("kkkkkkkkkkkkkkkk, oooooooooooooooo,", {"key-1": "k" * 16, "key-2": "o" * 16}),
        ("shop:kkkkkkkkkkkkkkkk, oooooooooooooooo", {"shop": "k" * 16, "key-2": "o" * 16}),
        ("shop:kkkkkkkkkkkkkk==", {"shop": "k" * 14 + "=="}),
    ],
)
def test_keys_in_a_variable_may_have_names(monkeypatch: pytest.MonkeyPatch, text: str, keys: dict[str, str]) -> None:
    monkeypatch.setenv("EVENTMW_KEYS", text)
    assert complete({}).named_keys == keys


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("STRICT", "maybe", "EVENTMW_STRICT must be 1 or 0"),
        ("TRUSTED_PROXIES", "two", "EVENTMW_TRUSTED_PROXIES must be a number"),
        ("LIMITS_MAX_EVENTS", "many", "EVENTMW_LIMITS_MAX_EVENTS must be a number"),
        ("KEYS", "", "keys is empty"),
        ("KEYS", "a:kkkkkkkkkkkkkkkk,a:oooooooooooooooo", "EVENTMW_KEYS has two keys named 'a'; write name:key"),
        ("PATH", "x", "path must start with /"),
    ],
)
def test_variables_that_cannot_work(monkeypatch: pytest.MonkeyPatch, variable: str, text: str, words: str) -> None:
    monkeypatch.setenv("EVENTMW_" + variable, text)
    with pytest.raises(ConfigError, match=words):
        complete({})


def test_a_variable_changes_one_limit_of_a_file_and_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, "[limits]\nmax_events = 5\nmax_depth = 9\n")
    monkeypatch.setenv("EVENTMW_LIMITS_MAX_EVENTS", "7")
    assert complete(from_toml(file)).limits == Limits(max_events=7, max_depth=9)


def test_a_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(
        tmp_path,
        """
        path = "/zaraz/api"
        receipt = "none"
        trusted_proxies = 1
        allowed_origins = ["https://shop.example"]
        keys = { shop = { env = "SHOP_KEY" } }

        [limits]
        max_events = 10

        [[tools]]
        type = "console"

        [[tools]]
        type = "eventmw.tools:File"
        path = "events.jsonl"
        id = "log"

        [[consumers]]
        type = "THIS:CRM"
        """.replace("THIS", __name__),
    )
    monkeypatch.setenv("SHOP_KEY", "k" * 16)
    config = complete(from_toml(file))
    assert config == Config(
        path="/zaraz/api",
        receipt=False,
        trusted_proxies=1,
        allowed_origins=["https://shop.example"],
        keys={"shop": EnvSecret("SHOP_KEY")},
        limits=Limits(max_events=10),
        tools=[Console(), File("events.jsonl", id="log")],
        consumers=[CRM],
        journal="memory",
        data_dir=str(tmp_path / "eventmw-data"),
    )


class Crm:
    id = "crm"

    def handle(self, _event: Any) -> Any:
        return ()


CRM = Crm()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path = ", "is not valid TOML"),
        ("colour = 'red'", "there is no setting 'colour'"),
        ("receipt = []", "receipt must be one of"),
        ("limits = 5", "limits must be a table"),
        ("[limits]\nmax_evnts = 5", "limits has no 'max_evnts'"),
        ("tools = 'ga4'", r"tools must be written as \[\[tools\]\]"),
        ("[[tools]]\nid = 'x'", "number 1 needs a type"),
        (
            "tools = ['ga4']",
            r"number 1 needs a type: 'ga4' stands there alone; write a table \[\[tools\]\].* type = \"ga4\"",
        ),
        ("[[consumers]]\nid = 'x'", 'number 1 needs a type, such as type = "package.module:name"'),
        ("consumers = ['cons:audit']", r'write a table \[\[consumers\]\] for each, such as type = "cons:audit"'),
        ("[[tools]]\ntype = 'nosuch'", "there is no tool type 'nosuch'; write one of .*, or package.module:Name"),
        ("[[tools]]\ntype = 'no_such_module:X'", "cannot be imported"),
        ("[[tools]]\ntype = 'eventmw.tools:Nosuch'", "cannot be imported"),
        ("[[tools]]\ntype = ':X'", "number 1"),
        (
            "[[tools]]\ntype = 'console'\ncolour = 'red'",
            "number 1, console: console has no setting 'colour'; there are json, id",
        ),
        ("[[tools]]\ntype = 'ga4'\nmeasurement_id = 'G-ABC123'", r"\[\[tools\]\] number 1, ga4: ga4 needs api_secret"),
        ("[[tools]]\ntype = 'ga4'", "ga4 needs measurement_id and api_secret"),
        ("[[tools]]\ntype = 'webhook'\nurl = 5", r"number 1, webhook: "),
        (f"[[tools]]\ntype = '{__name__}:CRM'\nwhen = 'x'", "takes no when here"),
        ("[[tools]]\ntype = 'file'\npath = ''", "number 1, file: path must name a file"),
        ("path = { env = 5 }", "path must start with /"),
    ],
)
def test_mistakes_in_a_file(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        complete(from_toml(written(tmp_path, text)))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml cannot be read: No such file"):
        from_toml(tmp_path / "nothing.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not valid TOML"):
        from_toml(tmp_path / "binary.toml")


def test_all_mistakes_of_a_file_at_once(tmp_path: Path) -> None:
    file = written(tmp_path, "path = 'x'\n[limits]\na = 1\n[[tools]]\ntype = 'nosuch'\n[[consumers]]\nid = 'x'\n")
    with pytest.raises(ConfigError) as caught:
        complete(from_toml(file))
    assert len(caught.value.problems) == 4


def test_a_traceback_ends_with_all_mistakes_and_shows_no_other_exception(tmp_path: Path) -> None:
    file = written(tmp_path, "path = '/'\nbatch = 'all'\n[[tools]]\ntype = 'nosuch'\n[[tools]]\ntype = 'ga4'\n")
    with pytest.raises(ConfigError) as of_file:
        complete(from_toml(file))
    with pytest.raises(ConfigError) as in_code:
        complete(cast(Settings, {"path": "/", "batch": "all"}))
    for problems, caught in ((4, of_file), (2, in_code)):
        shown = "".join(traceback.format_exception(caught.value))
        assert shown.count("Traceback") == 1
        last = shown.splitlines()[-problems - 1 :]
        assert last[0] == "eventmw.errors.ConfigError: eventmw cannot start:"
        assert all(line.startswith("  - ") for line in last[1:])


def test_all_mistakes_of_a_tool_at_once(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """
        keys = { shop = { env = "NO_KEY" } }
        [[tools]]
        type = "webhook"
        uri = "x"
        url = "ftp://x"
        secret = { env = "NO_HOOK" }
        headers = { authorization = { env = "NO_TOKEN" } }
        [[tools]]
        type = "ga4"
        measurement_id = "G-ABC123"
        api_secret = { env = "NO_GA4" }
        """,
    )
    with pytest.raises(ConfigError) as caught:
        complete(from_toml(file))
    assert len(caught.value.problems) == 6, caught.value.problems
    told = "\n".join(caught.value.problems)
    for words in ("no setting 'uri'", "url must", ".authorization names", "NO_HOOK", "NO_GA4", "NO_KEY"):
        assert words in told


def test_a_variable_that_cannot_work_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTMW_TRUSTED_PROXIES", "x")
    with pytest.raises(ConfigError) as caught:
        complete(from_toml(written(tmp_path, "")))
    assert len(caught.value.problems) == 1


def test_unknown_parameters_are_named() -> None:
    with pytest.raises(ConfigError, match=r"there is no setting 'pth'; did you mean 'path'"):
        complete({"pth": "/x"})  # type: ignore[typeddict-unknown-key]  # a mistake that is being tested


def test_both_gateways_read_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTMW_STRICT", "1")
    with both() as pair:
        assert all(site.runtime.config.strict for site in pair.sites)


def test_the_settings_of_the_eventbunker_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, 'eventbunker_path = "/eb"\ngeoip = "/srv/a.mmdb"\narchive = {env = "SHOP_ARCHIVE"}\n')
    monkeypatch.setenv("SHOP_ARCHIVE", "postgresql://x:do-not-show@z/d")
    monkeypatch.setenv("EVENTMW_GEOIP", "/srv/b.mmdb")
    config = complete(from_toml(file))
    assert (config.eventbunker_path, config.geoip) == ("/eb", "/srv/b.mmdb")
    assert config.archive is not None
    assert reveal(config.archive) == "postgresql://x:do-not-show@z/d"
    assert "do-not-show" not in repr(config)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("paht = '/x'", "there is no setting 'paht'; did you mean 'path'?"),
        ("[limit]\nmax_events = 5", "there is no setting 'limit'; did you mean 'limits'?"),
        ("[limits]\nmax_evnts = 3", "limits has no 'max_evnts'; did you mean 'max_events'?"),
        (
            "[limits]\nmax_events = '500'",
            "limits.max_events must be a number above 0, not the text '500'; write it without",
        ),
        ("trusted_proxies = '1'", "trusted_proxies must be a count of proxies, 0 or more, not the text '1'"),
        ("[[tools]]\ntype = 'webhok'", "there is no tool type 'webhok'; did you mean 'webhook'?"),
        ("[[tools]]\ntype = 'file'\npaht = 'x'", "file has no setting 'paht'; did you mean 'path'?"),
        ("batch = 'atom'", "not the text 'atom'"),
        ("eventbunker_path = 'eb'", "such as /eb"),
        ("ready_path = 'ready'", "such as /ready"),
        (
            "[[consumers]]\ntype = 'os:getcwd'",
            "consumers number 1: getcwd is not marked as a consumer; write @consumer(",
        ),
    ],
)
def test_a_slip_is_told_with_what_was_meant(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        complete(from_toml(written(tmp_path, text)))


def test_an_address_that_may_hold_a_password_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        complete({"journal": "redis://a:secret@b"})
    assert "secret" not in str(caught.value)


def test_misspelt_variables_are_told_once_and_own_names_are_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("DRYRUN", "TRUSTED_PROXY", "LIMITS_MAX_EVNTS", "QQQQQ", "HOOK", "KEY", "WRITE_KEY"):
        monkeypatch.setenv(f"EVENTMW_{name}", "1" * 32)
    tool = Webhook("https://hooks.example/", secret=env("EVENTMW_HOOK"))
    for _ in range(2):
        eventmw.EventsMiddleware(lambda _environ, _start: [], path="/x", tools=[tool])
    said = [record.getMessage() for record in caplog.records if "environment variable" in record.getMessage()]
    assert said == [
        "The environment variable EVENTMW_DRYRUN sets nothing: did you mean EVENTMW_DRY_RUN?",
        "The environment variable EVENTMW_LIMITS_MAX_EVNTS sets nothing: did you mean EVENTMW_LIMITS_MAX_EVENTS?",
        "The environment variable EVENTMW_QQQQQ sets nothing: eventmw has no such setting.",
        "The environment variable EVENTMW_TRUSTED_PROXY sets nothing: did you mean EVENTMW_TRUSTED_PROXIES?",
    ]
