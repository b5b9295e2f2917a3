"""CustomHTML: the owner's HTML runs, the data in it never do."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventmw.contract import bind
from eventmw.effects import Execute
from eventmw.errors import ConfigError
from eventmw.event import Event
from eventmw.tools import CustomHTML

NASTY = "\"'`</script><script>alert(1)</script><img src=x onerror=alert(1)>${alert(1)}&quot;\u2028-alert(1)-"


def arguments(html: str, client: dict[str, Any], **options: Any) -> tuple[str, str, list[Any]]:
    """Return what the code passes: the HTML, the key of its data, the data."""
    bound = bind(CustomHTML(html, **options))
    assert bound.answers
    (effect,) = bound.handle(Event(id="e", name="n", timestamp_ms=1, recorded_ms=1, client=client))
    assert isinstance(effect, Execute)
    passed = effect.code.rpartition("\n})(")[2].removesuffix(");")
    assert not set(passed) & set("<>&'`\u2028\u2029"), "an argument could end the script element"
    inserted, key, data = json.loads(f"[{passed}]")
    return inserted, key, data


class Structure(HTMLParser):
    """Everything of a page but the texts in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[Any] = []
        self.texts = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append((tag, [name for name, _ in attrs]))

    def handle_endtag(self, tag: str) -> None:
        self.seen.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts += data


def test_html_without_placeholders_goes_through_as_it_is() -> None:
    html = "<p id=\"a\">It's & <b>bold</b></p><script src='https://x.example/a.js'></script>"
    assert arguments(html, {})[0] == html


def test_text_and_attributes_are_escaped_and_addresses_encoded() -> None:
    html = "<p title=\"{{ client.x }}\">{{ client.x }}</p><a href='/?q={{ client.x }}'>a</a>"
    inserted, _, _ = arguments(html, {"x": "<\"'&"})
    assert inserted == "<p title=\"&lt;&quot;&#x27;&amp;\">&lt;&quot;&#x27;&amp;</p><a href='/?q=%3C%22%27%26'>a</a>"


def test_an_address_cannot_become_a_script() -> None:
    assert (
        arguments("<a href='{{ client.x }}'>a</a>", {"x": "javascript:alert(1)"})[0]
        == "<a href='javascript%3Aalert%281%29'>a</a>"
    )


def test_a_script_reads_the_data_from_a_variable() -> None:
    html = "<script>f({{ client.n }}, \"{{ client.n }}\", '{{ client.x }}', `{{ client.x }}`, {{ client.no }})</script>"
    inserted, key, data = arguments(html, {"n": {"a": 1}, "x": NASTY})
    assert re.fullmatch("e[0-9a-f]{16}", key)
    assert inserted == "<script>f(" + ", ".join(f"__eventmw.{key}[{at}]" for at in range(5)) + ")</script>"
    assert data == [{"a": 1}, '{"a":1}', NASTY, NASTY, ""]


@given(st.text())
@example(NASTY)
def test_data_change_neither_the_structure_nor_the_programs(value: Any) -> None:
    html = "<p title='{{ client.x }}'>{{ client.x }}</p><img src=\"/{{ client.x }}\"><script>f('{{ client.x }}',{{client.x}})</script>"
    quiet, _, _ = arguments(html, {"x": "quiet"})
    inserted, _, data = arguments(html, {"x": value})
    assert Structure(inserted).seen == Structure(quiet).seen
    assert inserted.partition("<script>")[2] == quiet.partition("<script>")[2]
    assert data == [value, value]


@pytest.mark.parametrize(
    "html",
    ["<p title={{ client.x }}>", "<p title = {{ client.x }}>", "<p a=b{{ client.x }}>", "<p {{ client.x }}='1'>", "<p {{ client.x }}>",
     "<{{ client.x }}>", "</p {{ client.x }}>", "<a onclick='{{ client.x }}'>", '<a ONCLICK="{{ client.x }}">',
     "<p style='color: {{ client.x }}'>", "<style>{{ client.x }}</style>", "<!-- {{ client.x }} -->", "<iframe srcdoc='{{ client.x }}'>",
     "<img srcset='{{ client.x }}'>", "<meta content='{{ client.x }}'>", "<base href='{{ client.x }}'>",
     "<script type='application/ld+json'>{{ client.x }}</script>", "<svg><animate to='{{ client.x }}'/></svg>",
     "<p a='1'{{ client.x }}>", '<p a=b"c {{ client.x }}">'],
)  # fmt: skip
def test_places_that_cannot_be_made_safe_are_told_at_the_start(html: str) -> None:
    with pytest.raises(ConfigError, match="where data cannot be made safe"):
        CustomHTML(html)


@pytest.mark.parametrize(
    ("script", "place"),
    [("f('a {{ client.x }}')", "a string"), ('f("{{ client.x }} b")', "a string"), ("f('it\\'s {{ client.x }}')", "a string"),
     ("f(`a {{ client.x }}`)", "a template literal"), ("f(`${a}{{ client.x }}`)", "a template literal"),
     ("f(`${`a {{ client.x }}`}`)", "a template literal"), ("// {{ client.x }}", "a comment"), ("a /* {{ client.x }} */", "a comment"),
     ("f(/[/]{{ client.x }}/)", "a regular expression"), ("return /{{ client.x }}/", "a regular expression"),
     ("f({{ client.y }}, 'a {{ client.x }}')", "a string"), ("f('{{ client.y }}{{ client.x }}')", "a string"), ("f(\"a'{{ client.x }}'b\")", "a string")],
)  # fmt: skip
def test_a_part_of_a_longer_string_is_told_at_the_start(script: str, place: str) -> None:
    with pytest.raises(ConfigError, match=f"client.x }}}} stands inside {place} of a script"):
        CustomHTML(f"<p title='it'>It's</p><script>{script}</script>")


@pytest.mark.parametrize(
    "script",
    ["f('a' + {{ client.x }})", "// it's\nf({{ client.x }})", "/* ' */ f({{ client.x }})", "f(/'/, {{ client.x }})",
     "a = b / c; d = '/' + {{ client.x }}", "f(`${ {{ client.x }} }`)", "f(`a${ {a: 1}.a}`, {{ client.x }})", "f(a[1] / 2, {{ client.x }} / 2)",
     "f('\\'', \"{{ client.x }}\", '{{ client.x }}')", "f(/[/']/, {{ client.x }})", "if (a) { f({{ client.x }}) }"],
)  # fmt: skip
def test_code_around_a_placeholder_is_left_alone(script: str) -> None:
    inserted, key, _ = arguments(f"<p title='it'>It's {{{{ client.y }}}}</p><script>{script}</script>", {"x": 1})
    assert f"__eventmw.{key}[0]" in inserted


def test_each_script_is_a_program_of_its_own() -> None:
    CustomHTML("<script>// it's</script><p>It's</p><script type='module'>f({{ client.x }})</script>")
    CustomHTML('<script data-a="it\'s{{ client.x }}">f({{ client.x }})</script>')


def test_two_tools_and_two_events_do_not_share_data() -> None:
    html = "<script>{{ client.x }}</script>"
    assert arguments(html, {})[1] != arguments(html, {}, id="other")[1]


def test_nothing_and_bad_templates_are_told_at_the_start() -> None:
    with pytest.raises(ConfigError, match="html is empty"):
        CustomHTML("  ")
    with pytest.raises(ConfigError, match="only paths are supported"):
        CustomHTML("<p>{{ client.x() }}</p>")
