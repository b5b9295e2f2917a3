"""The page in a real browser, as a site's visitor gets it: over HTTP, by a signed link, in a frame of another page.

Needs Debian's chromium. Screenshots are left in ``build/charts`` to be looked at.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from eventmw.charts.buckets import completed
from eventmw.charts.links import Link, token_of
from eventmw.charts.listed import spread
from eventmw.charts.shape import shape_of
from eventmw.cli.linking import iframe_of
from eventmw.eventbunker.charts import PATH, ChartCall
from eventmw.keys import Key
from eventmw.query.question import Query
from eventmw.query.table import Table
from tests.chart_tables import HOSTILE, TABLES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no Chromium here: apt-get install chromium", allow_module_level=True)
playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install 'eventmw[test]'"
)

SHOTS = Path(__file__).parent.parent / "build" / "charts"
DIGEST = sha256(b"secret").digest()
KEY = Key(id="k1", kind="query", account_id="a", project_id="p")
NOW_MS = 1_750_000_000_000
EXPIRES_S = 1_750_000_001


class Keys:
    def by_id(self, key_id: str) -> Key | None:
        return KEY if key_id == "k1" else None

    def digest_of(self, key_id: str) -> bytes | None:
        return DIGEST if key_id == "k1" else None


def ask(query: Query, key: Key) -> Table:
    """Answer a query for events of a name with the table of that name."""
    return TABLES[str(query.filters[0].values[0])]


def query_for(name: str) -> str:
    return json.dumps({"filters": [{"field_name": "event_name", "op": "equals", "value": name}]})


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingMixIn, WSGIServer):
    """A browser opens connections that it says nothing on, so each has a thread."""

    daemon_threads = True


class Site:
    """A site whose one path is the chart call, and whose others are pages with it in a frame."""

    def __init__(self, *frame_ancestors: str) -> None:
        self.call = ChartCall(ask, Keys(), lambda: NOW_MS, frame_ancestors or ("'self'",))
        self.asked: list[str] = []
        self.server = make_server("127.0.0.1", 0, self, server_class=Server, handler_class=Quiet)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.asked.append(environ["PATH_INFO"])
        if environ["PATH_INFO"] == PATH:
            reply = self.call.get(environ["QUERY_STRING"])
            start_response(f"{reply.status} x", list(reply.headers))
            return [reply.body]
        if environ["PATH_INFO"] != "/framed":
            start_response("404 Not Found", [])
            return [b""]
        start_response("200 OK", [("content-type", "text/html")])
        link = f"http://127.0.0.1:{self.server.server_port}{PATH}?{environ['QUERY_STRING']}"
        return [f'<link rel=icon href="data:,"><iframe src="{link}" width=600 height=360></iframe>'.encode()]

    def link(
        self, name: str, *, title: str = "", expires_s: int = EXPIRES_S, host: str = "127.0.0.1", path: str = PATH
    ) -> str:
        token = token_of(Link("p", "k1", query_for(name), expires_s, title), DIGEST)
        return f"http://{host}:{self.server.server_port}{path}?token={token}"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    SHOTS.mkdir(parents=True, exist_ok=True)
    with playwright.sync_playwright() as driver:
        # Without --no-sandbox it does not start as root, which tests run as where they run for everybody.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Tab:
    """One page, and what the browser complained of."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 900, "height": 420}, **options})
        self.complaints: list[str] = []
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, url: str) -> Any:
        self.page.goto(url)
        return self.page

    def shot(self, name: str) -> None:
        self.page.screenshot(path=SHOTS / f"{name}.png")


@pytest.fixture
def tabs(browser: Any) -> Iterator[Any]:
    made: list[Tab] = []

    def tab(**options: Any) -> Tab:
        made.append(Tab(browser, **options))
        return made[-1]

    yield tab
    for one in made:
        one.context.close()


def until(page: Any, condition: str) -> None:
    """Wait until a JavaScript condition holds. Playwright's own way would need what the page's policy forbids."""
    page.evaluate(
        f"() => new Promise(done => {{ const look = () => ({condition}) ? done() : requestAnimationFrame(look); look(); }})"
    )


LIGHT: dict[str, Any] = {"color_scheme": "light"}
DARK: dict[str, Any] = {"color_scheme": "dark"}
NARROW: dict[str, Any] = {"viewport": {"width": 300, "height": 400}}
WIDE: dict[str, Any] = {"viewport": {"width": 2560, "height": 600}}
LOOKS = {"light": LIGHT, "dark": DARK, "narrow": NARROW, "wide": WIDE}


def cells(page: Any) -> list[list[str]]:
    found: list[list[str]] = page.evaluate(
        "[...document.querySelectorAll('tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return found


def spoken(page: Any) -> list[str]:
    """Go through the chart with the keyboard, and return what a screen reader says of each place."""
    plot = page.locator(".plot")
    plot.focus()
    page.keyboard.press("End")
    last = plot.get_attribute("aria-valuetext")
    page.keyboard.press("Home")
    words = [plot.get_attribute("aria-valuetext")]
    forward = "ArrowDown" if plot.get_attribute("aria-orientation") == "vertical" else "ArrowRight"
    while words[-1] != last and len(words) < 500:
        page.keyboard.press(forward)
        words.append(plot.get_attribute("aria-valuetext"))
    return words


LOOKED_AT = [
    *((name, look) for name in TABLES for look in ("light", "narrow")),
    *((name, look) for name in ("hours", "series", "groups", "empty", "figures") for look in ("dark", "wide")),
]


@pytest.mark.parametrize(("name", "look"), LOOKED_AT)
def test_nothing_is_wrong_with_any_shape_in_any_look(site: Site, tabs: Any, name: str, look: str) -> None:
    site.asked.clear()
    tab = tabs(**LOOKS[look])
    page = tab.open(site.link(name))
    for choice in page.get_by_role("radio").all():
        choice.check()
        tab.shot(f"{name}-{look}-{choice.get_attribute('value')}")
    if not page.get_by_role("radio").count():
        tab.shot(f"{name}-{look}")
    assert tab.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it is wider than its window"
    assert set(site.asked) <= {PATH, "/favicon.ico"}, "it asked for something else"
    assert len(cells(page)) == len(completed(TABLES[name]).rows)


@pytest.mark.parametrize(
    ("name", "label", "value"),
    [("hours", 0, 1), ("groups", 0, 1), ("one_point", 0, 1), ("sparse", 0, 1), ("negative", 0, 1)],
)
def test_the_keyboard_reads_the_numbers_of_the_table(site: Site, tabs: Any, name: str, label: int, value: int) -> None:
    page = tabs().open(site.link(name))
    for view in page.get_by_role("radio").all()[:-1]:
        view.check()
        wanted = [f"{' '.join(row[label].split())}: {row[value]}" for row in cells(page) if row[value] != "null"]
        assert spoken(page) == [words.replace("\ufffd", "\x00") if "\x00" in HOSTILE else words for words in wanted]


def test_the_table_has_the_numbers_of_the_answer_in_json(site: Site, tabs: Any) -> None:
    page = tabs().open(site.link("groups"))
    answered = [row["sum_price"] for row in TABLES["groups"].as_json()["rows"]]
    shown = [row[1].replace(",", "") for row in cells(page)]
    assert [None if text == "null" else float(text) for text in shown] == answered


def test_every_series_is_read_and_can_be_switched_off(site: Site, tabs: Any) -> None:
    page = tabs().open(site.link("columns"))
    words = spoken(page)
    assert len(words) == 36
    assert words[0] == "2025-10-25 20:00: p99 400, p90 120, p50 50"
    assert words[7] == "2025-10-26 03:00: p90 127, p50 50", "what is null has no number"
    page.get_by_role("button", name="p99").click()
    assert page.get_by_role("button", name="p99").get_attribute("aria-pressed") == "false"
    assert spoken(page)[0] == "2025-10-25 20:00: p90 120, p50 50"
    for other in ("p90", "p50"):
        page.get_by_role("button", name=other).click()
    assert page.get_by_role("button", name="p50").get_attribute("aria-pressed") == "true", "one always stays"


def test_one_of_several_numbers_is_chosen(site: Site, tabs: Any) -> None:
    page = tabs().open(site.link("incomparable"))
    page.get_by_label("Show").select_option("sum")
    assert spoken(page)[-1].endswith(": 8,000,000")


BARS = """
() => {
  const canvas = document.querySelector('canvas'), ctx = canvas.getContext('2d');
  const wanted = getComputedStyle(document.documentElement).getPropertyValue('--s0').trim();
  const [r, g, b] = [1, 3, 5].map(at => parseInt(wanted.slice(at, at + 2), 16));
  const {data, width, height} = ctx.getImageData(0, 0, canvas.width, canvas.height);
  const lengths = [];
  for (let y = 0; y < height; y += 1) {
    let count = 0;
    for (let x = 0; x < width; x += 1) {
      const at = (y * width + x) * 4;
      if (data[at] === r && data[at + 1] === g && data[at + 2] === b) count += 1;
    }
    lengths.push(count);
  }
  return lengths;
}
"""


# Runs of a bar's own colour in the line of pixels just above the axis.
FULL_BARS = """
() => {
  const canvas = document.querySelector('canvas'), ctx = canvas.getContext('2d');
  const wanted = getComputedStyle(document.documentElement).getPropertyValue('--s0').trim();
  const [r, g, b] = [1, 3, 5].map(at => parseInt(wanted.slice(at, at + 2), 16));
  const {data, width, height} = ctx.getImageData(0, 0, canvas.width, canvas.height);
  let most = 0;
  for (let y = 0; y < height; y += 1) {
    let runs = 0, before = 0;
    for (let x = 0; x < width; x += 1) {
      const at = (y * width + x) * 4;
      const length = data[at] === r && data[at + 1] === g && data[at + 2] === b ? before + 1 : 0;
      if (length === 5) runs += 1;
      before = length;
    }
    most = Math.max(most, runs);
  }
  return most;
}
"""

GRIDLINES = """
() => {
  const canvas = document.querySelector('canvas'), ctx = canvas.getContext('2d');
  const wanted = getComputedStyle(document.documentElement).getPropertyValue('--rule').trim();
  const [r, g, b] = [1, 3, 5].map(at => parseInt(wanted.slice(at, at + 2), 16));
  const {data, width, height} = ctx.getImageData(0, 0, canvas.width, canvas.height);
  let lines = 0;
  for (let y = 0; y < height; y += 1) {
    let count = 0;
    for (let x = 0; x < width; x += 1) {
      const at = (y * width + x) * 4;
      if (data[at] === r && data[at + 1] === g && data[at + 2] === b) count += 1;
    }
    if (count > 20) lines += 1;
  }
  return lines;
}
"""


@pytest.mark.parametrize("look", [LIGHT, DARK])
def test_bars_are_as_long_as_their_numbers(site: Site, tabs: Any, look: dict[str, Any]) -> None:
    page = tabs(**look).open(site.link("groups"))
    rows: list[int] = page.evaluate(BARS)
    longest: list[int] = []
    for before, row in zip([0, *rows], rows, strict=False):
        if row and not before:
            longest.append(0)
        if row:
            longest[-1] = max(longest[-1], row)
    values = [abs(row[1]) for row in TABLES["groups"].rows if row[1] is not None]
    assert len(longest) == len(values)
    for length, value in zip(longest, values, strict=True):
        assert abs(length / longest[0] - value / values[0]) < 0.02


@pytest.mark.parametrize("name", ["days", "days_by_name"])
@pytest.mark.parametrize("view", ["Line", "Bars"])
def test_a_day_without_events_is_read_as_0(site: Site, tabs: Any, name: str, view: str) -> None:
    page = tabs().open(site.link(name))
    page.get_by_role("radio", name=view).check()
    words = spoken(page)
    assert len(words) == len(shape_of(TABLES[name]).times)
    assert all(re.search(r"[: ]0\b", words[at]) for at in (3, 9, 10, 11)), words


def test_days_that_are_not_whole_look_different_and_are_named(site: Site, tabs: Any) -> None:
    page = tabs().open(site.link("days"))
    for view in ("Line", "Bars"):
        page.get_by_role("radio", name=view).check()
        words = spoken(page)
        assert words[0].startswith("2025-10-26 (from 16:00): ")
        assert words[-1].startswith("2025-11-25 (until now): ")
        assert "2025-10-26 (from 16:00) and 2025-11-25 (until now) are not whole" in page.locator(".note").inner_text()
        assert "(until now)" in page.locator(".tip strong").inner_text()
    page.get_by_label("Show").select_option("Count")
    assert page.evaluate(FULL_BARS) == 31 - 4 - 2, "days with events, but the two that are not whole"


@pytest.mark.parametrize("width", [300, 320, 1200])
@pytest.mark.parametrize("name", ["four_figures", "long_figure"])
def test_every_number_is_whole_in_the_window(site: Site, tabs: Any, name: str, width: int) -> None:
    page = tabs(viewport={"width": width, "height": 700}).open(site.link(name))
    outside = """
    [...document.querySelectorAll('td')].filter(cell => {
      const box = cell.getBoundingClientRect();
      return box.left < 0 || box.right > innerWidth || box.bottom > innerHeight || cell.scrollWidth > cell.clientWidth + 1;
    }).length
    """
    assert page.evaluate(outside) == 0
    assert page.evaluate("(t => t.scrollWidth <= t.clientWidth)(document.getElementById('table'))")


@pytest.mark.parametrize("width", [320, 1200])
def test_free_fields_of_events_are_seen_without_scrolling(site: Site, tabs: Any, width: int) -> None:
    tab = tabs(viewport={"width": width, "height": 700})
    page = tab.open(site.link("free_fields"))
    assert page.evaluate("(t => t.scrollWidth <= t.clientWidth)(document.getElementById('table'))")
    assert page.locator("td[data-label=plan]").first.is_visible()
    assert page.get_by_role("columnheader", name="metric_name").count() == 0
    assert page.get_by_role("row").count() == 41, "its roles stay where rows are blocks"
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert tab.complaints == []


@pytest.mark.parametrize(
    ("name", "path"),
    [("days", PATH), ("four_figures", PATH), ("free_fields", PATH), ("groups", PATH), ("days", "/framed")],
)
def test_the_table_is_saved_as_csv(site: Site, tabs: Any, name: str, path: str) -> None:
    tab = tabs()
    page = tab.open(site.link(name, title="Umsätze / 2025: «Tag»", path=path))
    place = page if path == PATH else page.frame_locator("iframe")
    with page.expect_download() as saved:
        place.get_by_role("button", name="Save the table as CSV").click()
    assert saved.value.suggested_filename == "Umsätze-2025-Tag.csv"
    text = Path(saved.value.path()).read_bytes().decode()
    assert text == completed(spread(TABLES[name])).as_csv()
    assert tab.complaints == []


def test_an_axis_has_few_lines_and_a_bar_alone_is_short(site: Site, tabs: Any) -> None:
    page = tabs(viewport={"width": 1200, "height": 700}).open(site.link("one_group"))
    assert 100 < max(page.evaluate(BARS)) < 480
    page = tabs(viewport={"width": 1200, "height": 1400}).open(site.link("hours"))
    assert 2 <= page.evaluate(GRIDLINES) <= 8


def test_the_skip_link_leads_to_the_table(site: Site, tabs: Any) -> None:
    tab = tabs()
    page = tab.open(site.link("hours"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    tab.shot("skip")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "table"
    assert page.get_by_role("radio", name="Table").is_checked()
    page.keyboard.press("End")
    until(page, "document.getElementById('table').scrollTop > 1000")


def test_everything_is_reached_by_the_keyboard(site: Site, tabs: Any) -> None:
    page = tabs().open(site.link("columns"))
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.className || document.activeElement.localName"))
    assert reached == ["skip", "select", "input", "save", "button", "button", "button", "plot"]
    page.get_by_role("radio", name="Line").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("radio", name="Bars").is_checked()
    assert page.locator(".plot").get_attribute("aria-label").startswith("Bar chart: p50, p90 and p99 per hour.")


def test_a_screen_reader_finds_names_for_all(site: Site, tabs: Any) -> None:
    page = tabs().open(site.link("columns"))
    tree = page.locator("body").aria_snapshot()
    assert 'heading "p50, p90 and p99 per hour" [level=1]' in tree
    assert 'group "View"' in tree
    assert 'radio "Line" [checked]' in tree
    assert 'list "Series"' in tree
    assert (
        'slider "Line chart: p50, p90 and p99 per hour. All. 36 points, 3 series. Lowest 50 at 2025-10-25 20:00' in tree
    )
    assert 'columnheader "p99"' in tree, "the table is there for those who do not see the chart"
    assert 'rowheader "2025-10-25 20:00"' in tree


def test_the_mouse_shows_a_point_and_takes_it_away(site: Site, tabs: Any) -> None:
    tab = tabs()
    page = tab.open(site.link("series"))
    page.mouse.move(450, 300)
    page.wait_for_selector(".tip:not([hidden])")
    tab.shot("tip")
    assert "chrome" in page.locator(".tip").inner_text()
    page.mouse.move(450, 5)
    page.wait_for_selector(".tip", state="hidden")
    page.locator(".plot").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".tip:not([hidden])")
    page.keyboard.press("Escape")
    page.wait_for_selector(".tip", state="hidden")


def test_light_and_dark_follow_the_reader_while_the_page_is_open(site: Site, tabs: Any) -> None:
    page = tabs(**LIGHT).open(site.link("hours"))
    light = page.locator("canvas").evaluate("canvas => canvas.toDataURL()")
    page.emulate_media(color_scheme="dark")
    until(page, "getComputedStyle(document.body).backgroundColor === 'rgb(21, 24, 28)'")
    until(page, f"({BARS})().some(length => length > 0)")  # the line has the colour of the dark
    assert page.locator("canvas").evaluate("canvas => canvas.toDataURL()") != light


def test_it_follows_the_size_of_its_frame(site: Site, tabs: Any) -> None:
    page = tabs().open(site.link("groups"))
    page.set_viewport_size({"width": 320, "height": 500})
    until(page, "document.querySelector('.uplot').offsetWidth < 320")
    page.set_viewport_size({"width": 1400, "height": 500})
    until(page, "document.querySelector('.uplot').offsetWidth > 1300")


def test_nothing_moves_for_those_who_want_that(site: Site, tabs: Any) -> None:
    page = tabs(reduced_motion="reduce").open(site.link("columns"))
    moving = (
        "[...document.querySelectorAll('*')].filter(one => getComputedStyle(one).transitionDuration !== '0s').length"
    )
    assert page.evaluate(moving) == 0
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(moving) > 0


def test_forced_colours_and_more_contrast(site: Site, tabs: Any) -> None:
    for name, options in {"forced": {"forced_colors": "active"}, "contrast": {"contrast": "more"}}.items():
        tab = tabs(**options)
        tab.open(site.link("columns"))
        tab.shot(name)
        assert tab.complaints == []


@pytest.mark.parametrize("name", ["series", "groups", "thousands"])
def test_it_prints_the_chart_and_the_whole_table_on_white(site: Site, tabs: Any, name: str) -> None:
    tab = tabs(**DARK)
    page = tab.open(site.link(name))
    printed = page.pdf(path=SHOTS / f"{name}.pdf", format="A4")
    assert printed.startswith(b"%PDF")
    until(page, "!document.documentElement.hasAttribute('data-printing')")
    tab.shot(f"{name}-after-printing")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.getElementById('table')).position") == "static"
    assert page.evaluate("getComputedStyle(document.querySelector('.controls')).display") == "none"
    assert tab.complaints == []


def test_without_scripts_there_is_the_table(site: Site, tabs: Any) -> None:
    tab = tabs(java_script_enabled=False)
    page = tab.open(site.link("hours"))
    assert page.get_by_role("table").is_visible()
    assert page.locator("tbody tr").count() == 120
    assert not page.locator(".controls").is_visible()
    tab.shot("no-script")


def test_hostile_texts_stay_texts(site: Site, tabs: Any) -> None:
    tab = tabs()
    dialogs: list[Any] = []
    tab.page.on("dialog", lambda dialog: dialogs.append(dialog))  # noqa: PLW0108 - playwright marks what it calls
    page = tab.open(site.link("groups", title=f"{HOSTILE}<svg onload=alert(2)>"))
    assert page.evaluate("document.querySelectorAll('img, svg[onload]').length") == 0
    assert "<svg onload=alert(2)>" in page.locator("h1").inner_text()
    assert any("<img src=x onerror=alert(1)>" in words for words in spoken(page))
    assert dialogs == []
    assert tab.complaints == []


def test_the_policy_holds(site: Site, tabs: Any) -> None:
    """It is in force: what somebody got into the page all the same would not run, and could not make HTML."""
    tab = tabs()
    page = tab.open(site.link("hours"))
    blocked = """
    () => {
      const script = document.createElement('script');
      try { script.textContent = 'window.broken = 1'; document.body.append(script); } catch { window.refused = 1; }
      try { document.body.innerHTML = '<b>x</b>'; } catch { window.refusedHtml = 1; }
      return [window.broken ?? 0, window.refused ?? 0, window.refusedHtml ?? 0, window.origin];
    }
    """
    assert page.evaluate(blocked) == [0, 1, 1, "null"]


def test_a_page_of_the_same_site_shows_it_in_a_frame(site: Site, tabs: Any) -> None:
    tab = tabs()
    page = tab.open(site.link("hours", path="/framed"))
    frame = page.frame_locator("iframe")
    frame.locator("canvas").wait_for()
    tab.shot("framed")
    assert frame.locator("h1").inner_text() == "count per hour"
    assert tab.complaints == []


def test_a_page_of_another_site_does_not(site: Site, tabs: Any) -> None:
    tab = tabs()
    with tab.page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        tab.open(site.link("hours", host="localhost", path="/framed"))
    tab.page.frames[1].wait_for_url("chrome-error://**")


@contextmanager
def another_site(link: str) -> Iterator[str]:
    """Serve a page of another origin that has a link in a frame, as `eventmw query --link` writes it."""
    [iframe] = re.findall("<iframe.*</iframe>", iframe_of(link, "Sales by day"))

    def page(_: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("content-type", "text/html")])
        return [f'<link rel=icon href="data:,">{iframe}'.encode()]

    server = make_server("127.0.0.1", 0, page, server_class=Server, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_page_of_another_origin_shows_it_where_it_may(tabs: Any) -> None:
    allowing = Site("'self'", "http://127.0.0.1:*")
    with another_site(allowing.link("hours")) as page_of_the_other:
        tab = tabs()
        frame = tab.open(page_of_the_other).frame_locator("iframe")
        frame.locator("canvas").wait_for()
        assert frame.locator("h1").inner_text() == "count per hour"
        assert tab.complaints == []
    allowing.close()


@pytest.mark.parametrize("frame_ancestors", [(), ("'none'",), ("https://intranet.example",)])
def test_a_page_of_another_origin_does_not_where_it_may_not(tabs: Any, frame_ancestors: tuple[str, ...]) -> None:
    forbidding = Site(*frame_ancestors)
    with another_site(forbidding.link("hours")) as page_of_the_other:
        tab = tabs()
        with tab.page.expect_console_message(lambda message: "frame-ancestors" in message.text):
            tab.open(page_of_the_other)
        tab.page.frames[1].wait_for_url("chrome-error://**")
        assert tab.page.frame_locator("iframe").locator("canvas").count() == 0
    forbidding.close()


@pytest.mark.parametrize("look", ["light", "dark", "narrow"])
def test_a_link_that_opens_nothing_says_why(site: Site, tabs: Any, look: str) -> None:
    tab = tabs(**LOOKS[look])
    answer = tab.page.goto(site.link("hours", expires_s=1_750_000_000))
    assert answer.status == 410
    tab.shot(f"expired-{look}")
    assert tab.page.get_by_role("alert").inner_text().startswith("This link has expired")
