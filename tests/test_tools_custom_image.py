"""CustomImage: the browser loads a pixel whose host nobody but the owner chooses."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.contract import bind
from eventmw.effects import Fetch
from eventmw.errors import ConfigError
from eventmw.event import Event
from eventmw.tools import CustomImage


def fetched(src: str, client: dict[str, Any]) -> Fetch:
    bound = bind(CustomImage(src))
    assert bound.answers
    (effect,) = bound.handle(Event(id="e", name="buy now", timestamp_ms=1, recorded_ms=1, client=client))
    assert isinstance(effect, Fetch)
    return effect


def test_the_request_of_the_browser() -> None:
    effect = fetched("https://t.example/p.gif?v={{ client.value }}&n={{ event.name }}", {"value": 0})
    assert effect.url == "https://t.example/p.gif?v=0&n=buy%20now"
    assert effect.init == {"mode": "no-cors", "credentials": "include", "keepalive": True}


@given(st.text())
def test_data_stay_in_their_parameter(value: Any) -> None:
    parts = urlsplit(fetched("https://t.example/p.gif?a={{ client.x }}&b=1", {"x": value}).url)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "t.example", "/p.gif")
    assert parse_qs(parts.query, keep_blank_values=True) == {"a": [value], "b": ["1"]}


@pytest.mark.parametrize(
    "src",
    [
        "/pixel/{{ client.x }}",
        "/p.gif?{{ client.x }}",
        "/?{{ client.x }}",
        "https://t.example/{{ client.x }}",
        "https://t.example/p.gif",
        "https://t.example:444/p?{{ client.x }}",
        "/pixel.gif",
    ],
)
def test_good_addresses(src: str) -> None:
    assert fetched(src, {}).url == src.replace("{{ client.x }}", "")


@pytest.mark.parametrize(
    "src",
    ["", "{{ client.url }}", "https://{{ client.host }}/p", "https://t.example{{ client.x }}/", "http://t.example/p",
     "//t.example/p", "/\\t.example", "javascript:alert(1)", "https://u@t.example/p"],
)  # fmt: skip
def test_data_may_not_choose_the_host(src: str) -> None:
    with pytest.raises(ConfigError, match="data may stand behind the host only"):
        CustomImage(src)


@pytest.mark.parametrize(
    "src",
    [
        "/{{ client.x }}",
        "/{{ client.a }}/{{ client.b }}",
        "/p{{ client.x }}",
        "/\t/{{ client.x }}",
        "/./{{ client.x }}/p",
    ],
)
def test_data_may_not_choose_a_page_of_the_own_site(src: str) -> None:
    with pytest.raises(ConfigError, match="CustomImage: "):
        CustomImage(src)


@pytest.mark.parametrize("value", [".", "..", "", "%2e%2e", "../logout", "/", "\\", "//evil.example"])
def test_data_stay_below_the_fixed_part_of_a_path(value: str) -> None:
    for src in ("/pixel/{{ client.x }}/{{ client.x }}", "https://t.example/pixel/{{ client.x }}"):
        path = urlsplit(fetched(src, {"x": value}).url).path
        assert path.startswith("/pixel/")
        assert not {".", ".."} & set(path.split("/"))


def test_a_bad_template_is_told_at_the_start() -> None:
    with pytest.raises(ConfigError, match="only paths are supported"):
        CustomImage("https://t.example/?{{ client.x() }}")
