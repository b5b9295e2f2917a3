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


X = "{{ client.x }}"
# Where data would choose the scheme, the host or the page, in an attribute that takes an address.
LOOSE = [
    X, f" {X}", f"/{X}", f"//{X}/a.js", f"///{X}", f"\\\\{X}", f"/\\{X}", f"/&#9;/{X}", f"/\t/{X}", f"./{X}", f"../{X}", f".{X}", f"/..{X}",
    f"https://{X}/a.js", f"https://{X}", f"https://a.{X}/", f"https://a.example{X}/", f"https://a.example:{X}/", f"https:{X}",
    f"https:/{X}", f"https:///{X}/", f"https:\\\\{X}/", f"https://u@{X}/", f"https://a.example@{X}/", f"HTTPS://{X}/", f"ht{X}://a.example/",
    f"javascript:f('{X}')", f"javascript:{X}", f"JAVASCRIPT:{X}", f"java\tscript:{X}", f"java\nscript:{X}", f" \x01javascript:{X}",
    f"&#106;avascript:{X}", f"&#x6A;avascript:{X}", f"javascript&colon;{X}", f"java&Tab;script:{X}", f"java&NewLine;script:{X}",
    f"javascript://a.example/%0a{X}", f"javascript:/x?{X}", f"java%73cript:{X}", f"data:text/html,{X}", f"data:;base64,{X}",
    f"DATA:text/html,{X}", f"vbscript:{X}", f"blob:https://a.example/{X}", f"filesystem:https://a.example/{X}", f"about:{X}",
    f"view-source:https://a.example/{X}", f"mailto:{X}", f"tel:{X}", f"ws://a.example/{X}", f"ftp://a.example/{X}", f"https://{X}?a=1",
    f"java{X}:f()", f"x{X}.png", f"x?{X}>text</a><b title=",
]  # fmt: skip
ATTRIBUTES = [
    *(f'<a {name}="{{}}">x</a>' for name in ("href", "HREF", "ping", "xlink:href")),
    *(f"<x {name}='{{}}'></x>" for name in ("action", "background", "cite", "classid", "codebase", "data", "formaction", "icon")),
    *(f'<x {name} = "{{}}"/>' for name in ("longdesc", "manifest", "poster", "src", "SRC", "archive", "lowsrc", "dynsrc", "attributionsrc")),
    '<script src="{}"></script>', '<script src="{}" async></script>', '<svg><script href="{}"></script></svg>', '<svg><image xlink:href="{}"/></svg>',
    '<svg><use href="{}"/></svg>', '<iframe src="{}"></iframe>', '<form action="{}"></form>', '<object data="{}"></object>',
    '<embed src="{}">', '<link rel="stylesheet" href="{}">', '<button formaction="{}">x</button>', '<video poster="{}"></video>', '<body background="{}">',
]  # fmt: skip


@pytest.mark.parametrize("address", [address for address in LOOSE if '"' not in address and "'" not in address])
def test_data_may_not_choose_scheme_host_or_page(address: str) -> None:
    for html in ATTRIBUTES:
        with pytest.raises(ConfigError, match="stands in an address") as caught:
            CustomHTML(html.format(address))
        assert len(caught.value.problems) == 1


def test_a_script_in_an_address_is_no_place_for_data() -> None:
    for html in (
        "<iframe src=\"javascript:parent.show('{{ client.name }}')\"></iframe>",
        "<a href=\"javascript:f('{{ client.x }}')\">",
    ):
        with pytest.raises(ConfigError, match="stands in an address"):
            CustomHTML(html)


@pytest.mark.parametrize(
    ("address", "inserted"),
    [
        (f"https://a.example/{X}", "https://a.example/b%2Fc"),
        (f"http://a.example:8080/x/{X}?y={X}#z", "http://a.example:8080/x/b%2Fc?y=b%2Fc#z"),
        (f"HTTPS://A.example?x={X}", "HTTPS://A.example?x=b%2Fc"),
        (f"https://a.example#{X}", "https://a.example#b%2Fc"),
        (f"https://[::1]/{X}", "https://[::1]/b%2Fc"),
        (f"//a.example/{X}", "//a.example/b%2Fc"),
        (f"/x{X}", "/xb%2Fc"),
        (f"/x/{X}/{X}", "/x/b%2Fc/b%2Fc"),
        (f"/.well-known/{X}", "/.well-known/b%2Fc"),
        (f"img/{X}.png", "img/b%2Fc.png"),
        (f"../img/{X}", "../img/b%2Fc"),
        (f"?x={X}", "?x=b%2Fc"),
        (f"#{X}", "#b%2Fc"),
        (f"p.gif?x=https://{X}", "p.gif?x=https://b%2Fc"),
        (f"/p?u=javascript:{X}", "/p?u=javascript:b%2Fc"),
    ],
)
def test_behind_a_fixed_host_or_path_data_are_a_part_of_an_address(address: str, inserted: str) -> None:
    for html in ATTRIBUTES:
        assert arguments(html.format(address), {"x": "b/c"})[0] == html.format(inserted)


@pytest.mark.parametrize(
    ("address", "value", "inserted"),
    [
        ("/x/{{ client.x }}/y", "..", "/x//y"),
        ("/x/{{ client.x }}/y", ".", "/x//y"),
        ("/x/{{ client.x }}/y", "...", "/x/.../y"),
        ("/x/{{ client.x }}/y", "%2e%2e", "/x/%252e%252e/y"),
        ("/x/{{ client.x }}/y", "../z", "/x/..%2Fz/y"),
        ("/x?y={{ client.x }}", "..", "/x?y=.."),
    ],
)
def test_data_do_not_go_up_in_a_path(address: str, value: str, inserted: str) -> None:
    """URL Standard: a path segment of two dots, also as %2e%2e, takes away the one before it."""
    assert arguments(f'<a href="{address}">', {"x": value})[0] == f'<a href="{inserted}">'


def test_addresses_without_data_are_the_owners() -> None:
    html = '<a href="javascript:void(0)"><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw="></a>'
    assert arguments(html, {})[0] == html


@pytest.mark.parametrize(
    ("html", "words"),
    [
        (f'<a href="/x?{X}', "a quote of an attribute has no end"),
        ("<p title='a", "a quote of an attribute has no end"),
        ("<p>text</p><b", "a tag or a quote"),
        (f"<script>f({X})", "<script> has no end"),
        (f"<p>{X}</p><style>p {{}}", "<style> has no end"),
    ],
)
def test_what_has_no_end_is_told_at_the_start(html: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        CustomHTML(html)


def test_a_script_reads_the_data_from_a_variable() -> None:
    html = "<script>f({{ client.n }}, \"{{ client.n }}\", '{{ client.x }}', `{{ client.x }}`, {{ client.no }})</script>"
    inserted, key, data = arguments(html, {"n": {"a": 1}, "x": NASTY})
    assert re.fullmatch("e[0-9a-f]{16}", key)
    assert inserted == "<script>f(" + ", ".join(f"__eventmw.{key}[{at}]" for at in range(5)) + ")</script>"
    assert data == [{"a": 1}, '{"a":1}', NASTY, NASTY, ""]


@given(st.text())
@example(NASTY)
def test_data_change_neither_the_structure_nor_the_programs(value: Any) -> None:
    html = "<p title='{{ client.x }}'>{{ client.x }}</p><img src=\"/i/{{ client.x }}\"><script>f('{{ client.x }}',{{client.x}})</script>"
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
     *(f'<iframe {name}="{{{{ client.x }}}}">' for name in ("sandbox", "allow", "csp", "referrerpolicy", "is")),
     *(f'<script {name}="{{{{ client.x }}}}"></script>' for name in ("type", "nonce", "integrity", "crossorigin", "language")),
     *(f'<link {name}="{{{{ client.x }}}}">' for name in ("rel", "as", "imagesrcset")), '<a target="{{ client.x }}">',
     *(f'<p {name}="{{{{ client.x }}}}">' for name in ("@click", ":href", "x-data", "v-html", "hx-get", "ng-init", "data-hx-post")),
     *(f'<svg><p {name}="{{{{ client.x }}}}"/></svg>' for name in ("fill", "filter", "mask", "clip-path", "cursor", "stroke")),
     *(f'<svg><set {name}="{{{{ client.x }}}}"/></svg>' for name in ("to", "from", "by", "values", "attributeName", "href")),
     '<meta http-equiv="refresh" content="0;url=https://a.example/{{ client.x }}">', '<param name="movie" value="{{ client.x }}">',
     "<img imagesrcset='https://a.example/{{ client.x }}'>", "<img srcset='https://a.example/{{ client.x }} 2x'>",
     '<p style="background: url(https://a.example/{{ client.x }})">', "<iframe srcdoc='<p>{{ client.x }}</p>'>",
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
