"""CustomHTML in a real browser: what a stranger sends never runs, and never chooses whom the page asks.

Needs Debian's chromium.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from eventmw.effects import Execute
from eventmw.testing import an_event, effects_of
from eventmw.tools import CustomHTML

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no Chromium here: apt-get install chromium", allow_module_level=True)
playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install 'eventmw[test]'"
)

HTML = """
<p id="p" title="{{ client.x }}" data-x='{{ client.x }}'>{{ client.x }}</p>
<a id="a" href="https://own.example/{{ client.x }}">x</a>
<a href="/p/{{ client.x }}?{{ client.x }}#{{ client.x }}">x</a>
<svg><a xlink:href="/p/{{ client.x }}"><text>x</text></a></svg>
<img src="//own.example/i/{{ client.x }}">
<iframe src="/frame/{{ client.x }}/{{ client.x }}"></iframe>
<script src="https://own.example/{{ client.x }}.js"></script>
<script>window.seen = ["{{ client.x }}", '{{ client.x }}', {{ client.x }}]</script>
"""
HOSTILE = [
    "javascript:document.title='PWNED'",
    "');document.title='PWNED'//",
    "\");document.title='PWNED'//",
    "</script><script>document.title='PWNED'</script>",
    '"><img src=x onerror="document.title=\'PWNED\'">',
    "' onload='document.title=1",
    "//evil.example/",
    "/\\evil.example/",
    "@evil.example/",
    "..",
    "",
    "https://evil.example/",
    "\t//evil.example",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_what_a_stranger_sends_never_runs_and_chooses_no_host(browser: Any) -> None:
    page = browser.new_page()
    asked: set[str] = set()

    def answer(route: Any) -> None:
        asked.add(route.request.url.split("/")[2])
        route.fulfill(content_type="text/html", body="<title>calm</title><body></body>")

    page.route("**/*", answer)
    for value in HOSTILE:
        (effect,) = effects_of(CustomHTML(HTML), an_event("x", {"x": value}))
        assert isinstance(effect, Execute)
        page.goto("https://page.example/")
        page.add_script_tag(content=effect.code)
        page.wait_for_function("window.seen")
        page.evaluate("document.querySelectorAll('iframe').length")
        assert page.evaluate("window.seen") == [value, value, value]
        assert page.evaluate("document.getElementById('p').textContent") == value
        assert page.title() == "calm"
        hosts = "[...document.querySelectorAll('a[href], script[src], img, iframe')].map(e => new URL(e.href || e.src).host)"
        assert set(page.evaluate(hosts)) <= {"own.example", "page.example"}
        paths = "[...document.querySelectorAll('iframe')].map(e => new URL(e.src).pathname)"
        assert all(path.startswith("/frame/") for path in page.evaluate(paths))
    page.close()
    assert asked <= {"own.example", "page.example"}
