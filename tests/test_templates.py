"""Templates: paths only, one pass, encoded for their place, mistakes told at the start."""

from __future__ import annotations

import html
import json
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventmw.errors import ConfigError
from eventmw.event import Event
from eventmw.toolkit.templates import Place, Template, as_text, parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
PLACES: list[Place] = ["text", "url", "html", "js"]


def event(client: Any = None, system: Any = None) -> Event:
    return Event(id="e1", name="buy", timestamp_ms=5, recorded_ms=6, client=client or {}, system=system or {})


def render(text: str, place: Place = "text", **data: Any) -> str:
    return Template(text, place).render(event(**data))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ client.value }}", "200"),
        ("{{client.value}}{{ client.value }}", "200200"),
        ("{{ client.products[1].name }}", "pen"),
        ("{{ client.products.1.name }}", "pen"),
        ("{{ client.products[2].name }}", ""),
        ("{{ client.value.length }}", ""),
        ("{{ client.nothing }}", ""),
        ("{{ client.null }}", ""),
        ("{{ client.yes }}", "true"),
        ("{{ client.`odd key.` }}", "odd"),
        ("{{ client.products }}", '[{"name":"ink"},{"name":"pen"}]'),
        ("{{ client.__class__ }}", ""),
        ("{{ system.device.`user-agent` }}", "UA"),
        ("{{ system.page.url }}", "https://example.com/"),
        ("{{ event.name }} {{ event.id }} {{ event.timestamp_ms }}", "buy e1 5"),
        ("{{ event.recorded_ms }}", ""),
        ("no braces } }} {", "no braces } }} {"),
        ("", ""),
    ],
)
def test_paths(template: str, expected: str) -> None:
    client = {
        "value": "200",
        "products": [{"name": "ink"}, {"name": "pen"}],
        "null": None,
        "yes": True,
        "odd key.": "odd",
    }
    system = {"device": {"user-agent": "UA"}, "page": {"url": "https://example.com/"}}
    assert render(template, client=client, system=system) == expected


@pytest.mark.parametrize(
    "bad",
    ["{{", "a {{ client.x", "{{ client.x }", "{{}}", "{{ client.x() }}", "{{ client..x }}", "{{.client}}", "{{ client.x. }}",
     "{{ client.x | upper }}", "{{ client['x'] }}", "{{ client.user-agent }}", "{{ client.`x }}", "{{ client[-1] }}",
     "{{ $sum(client.x) }}", "{{ cookies.x }}", "{{ [0] }}", "{{ {{ client.x }} }}", "{{ client.1x }}"],
)  # fmt: skip
def test_what_is_no_path_is_told_at_the_start(bad: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(bad)
    assert caught.value.problems


def test_all_problems_at_once_and_what_would_be_right() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("{{ client.x() }} {{ page.url }} {{ client.y")
    first, second, third = caught.value.problems
    assert "only paths are supported" in first
    assert "begins with client, system, event or extra" in second
    assert "without }} after it" in third


@given(VALUES)
@example("{{ client.secret }}")
def test_what_was_put_in_is_never_looked_at_again(value: Any) -> None:
    shown = render("[{{ client.x }}]", client={"x": value, "secret": "SECRET"})
    assert shown == f"[{as_text(value)}]"


@given(VALUES)
def test_a_url_component_stays_one(value: Any) -> None:
    shown = render("{{ client.x }}", "url", client={"x": value})
    assert unquote(shown) == as_text(value)
    assert not set(shown) & set("/?#&=+ :;,\"'<>@\\\r\n\t")


@given(VALUES)
@example("\"' onload='x")
def test_html_shows_the_text_and_opens_nothing(value: Any) -> None:
    shown = render("{{ client.x }}", "html", client={"x": value})
    assert not set(shown) & set("<>\"'")
    assert html.unescape(shown) == as_text(value)


@given(VALUES)
@example("</script><!--\u2028")
def test_javascript_is_json_that_cannot_end_the_script(value: Any) -> None:
    shown = render("{{ client.x }}", "js", client={"x": value})
    assert json.loads(shown) == value
    assert not set(shown) & set("<>&\u2028\u2029")


def test_in_javascript_a_path_to_nowhere_is_the_empty_text() -> None:
    assert render("f({{ client.x }})", "js") == 'f("")'


@given(st.text(), st.sampled_from(PLACES))
def test_any_text_compiles_or_is_refused_and_never_fails_later(text: str, place: Place) -> None:
    try:
        template = Template(text, place)
    except ConfigError:
        assert "{{" in text
    else:
        assert isinstance(template.render(event()), str)


@given(
    st.lists(
        st.text(st.characters(exclude_characters="`", exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=4
    )
)
def test_backticks_reach_any_name(names: list[str]) -> None:
    if any("}}" in name or name != name.strip() for name in names):
        return
    data: Any = "found"
    for name in reversed(names):
        data = {name: data}
    assert render("{{ client." + ".".join(f"`{name}`" for name in names) + " }}", client=data) == "found"
