"""The page of a chart: whatever a table holds is text in it, and its policy lets in nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from itertools import combinations
from math import dist
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventmw.charts.buckets import completed
from eventmw.charts.listed import spread
from eventmw.charts.page import chart_page, notice_page, policy
from eventmw.charts.shape import shape_of
from eventmw.charts.titles import heading_of
from eventmw.http import Reply
from eventmw.query.table import Table
from tests.chart_tables import COUNT, HOSTILE, HOUR, T0, TABLES, TIME, group, number, table

VENDOR = files("eventmw.charts").joinpath("vendor", "uplot")


class Reader(HTMLParser):
    """What a browser would find: tags with their attributes, the texts of cells, and the contents of scripts and styles."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": [], "title": [], "h1": []}
        self._open = ""
        self._cell = False
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "wbr":
            return
        self.tags.append((tag, dict(attrs)))
        self._open = tag if tag != "bdi" else self._open
        if tag in {"td", "th"}:
            self.cells.append("")
            self._cell = True
        if tag in self.inside:
            self.inside[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in {"td", "th"}
        self._open = "" if tag in self.inside else self._open

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.cells[-1] += data
        elif self.inside.get(self._open):
            self.inside[self._open][-1] += data


def data_of(reader: Reader) -> Any:
    at = next(
        n for n, (_, attrs) in enumerate(tag for tag in reader.tags if tag[0] == "script") if attrs.get("id") == "data"
    )
    return json.loads(reader.inside["script"][at])


TEXTS = st.text(max_size=30) | st.sampled_from(
    [HOSTILE, "<!--<script>", "]]>", "</style>", "</title>", "\u202e", "\ud800", "{{x}}"]
)


def seen(text: str) -> str:
    """Return a text as a reader of HTML gets it: no U+0000, and nothing that UTF-8 cannot hold."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


@given(st.lists(TEXTS, min_size=1, max_size=4, unique=True), TEXTS, TEXTS)
@example([HOSTILE], HOSTILE, HOSTILE)
def test_no_text_becomes_anything_but_text(names: list[str], column: str, title: str) -> None:
    valid = [name for name in names if name == seen(name)]  # a database has no others
    reply = chart_page(table([group(seen(column)), COUNT], [(name, 1) for name in valid]), title)
    harmless = chart_page(table([group("g"), COUNT], [("x", 1) for _ in valid]), "t")
    found, expected = Reader(reply.body.replace(b"\r", b"")), Reader(harmless.body)
    assert found.tags == expected.tags
    if valid:
        shape = shape_of(table([group(seen(column)), COUNT], [(name, 1) for name in valid]))
        assert data_of(found)["labels"] == [" ".join(label.split()) or "“”" for label in shape.labels]
        assert found.cells[2::2] == [seen(name).replace("\r", "") for name in valid]
    assert found.inside["title"] == [seen(title).replace("\r", "") or found.inside["h1"][0]]


def test_a_nul_is_no_character_of_html() -> None:
    reply = chart_page(table([group("g"), COUNT], [("a\x00b", 1)]))
    assert b"\x00" not in reply.body
    assert "a\ufffdb" in Reader(reply.body).cells


@pytest.mark.parametrize("name", TABLES)
def test_the_table_has_every_cell(name: str) -> None:
    given = TABLES[name]
    cells = Reader(chart_page(given).body).cells
    if not given.rows:
        assert cells == []
        return
    shown = completed(spread(given))
    assert len(cells) == len(shown.columns) * (len(shown.rows) + 1)
    assert cells[: len(shown.columns)] == [heading_of(one, given.interval) for one in shown.columns]


@pytest.mark.parametrize("name", [name for name, one in TABLES.items() if shape_of(one).axis])
def test_the_script_gets_the_numbers_of_the_answer_in_json(name: str) -> None:
    given = TABLES[name]
    told = json.loads(json.dumps(completed(given).as_json(), default=dict))["rows"]
    data = data_of(Reader(chart_page(given).body))
    drawn = [value for one in data["measures"][-1]["series"] for value in one["values"] if value is not None]
    column = next(one.name for one in reversed(given.columns) if one.role == "value")
    numbers = [row[column] for row in told if row[column] is not None and abs(row[column]) < 10**308]
    left_out = data["omitted"] + data["measures"][-1]["omitted"] * len(data["times"])
    assert len(drawn) == len(numbers) - left_out
    assert sorted(drawn) == sorted(numbers) or left_out


@pytest.mark.parametrize("name", TABLES)
def test_the_page_holds_its_table_as_csv(name: str) -> None:
    """What the button saves: escaped for spreadsheets as the API's CSV is, with the columns and rows that the page shows."""
    reader = Reader(chart_page(TABLES[name]).body)
    held = [
        n for n, (_, attrs) in enumerate(one for one in reader.tags if one[0] == "script") if attrs.get("id") == "csv"
    ]
    if not TABLES[name].rows:
        assert held == []
        return
    assert json.loads(reader.inside["script"][held[0]]) == completed(spread(TABLES[name])).as_csv()


def test_no_formula_is_in_the_csv() -> None:
    reader = Reader(chart_page(table([group("g"), COUNT], [("=HYPERLINK(1)", 1)])).body)
    assert [json.loads(one) for one in reader.inside["script"][1:2]] == ["g,count\r\n'=HYPERLINK(1),1\r\n"]


def test_the_table_says_which_bucket_is_not_whole() -> None:
    cells = Reader(chart_page(TABLES["days"]).body).cells
    assert cells[3::3][0] == "2025-10-26 from 16:00"
    assert cells[3::3][-1] == "2025-11-25 until now"


@pytest.mark.parametrize("name", ["four_figures", "free_fields"])
def test_cells_that_may_be_laid_out_as_blocks_have_their_heading_and_their_role(name: str) -> None:
    reader = Reader(chart_page(TABLES[name]).body)
    cells = [attrs for tag, attrs in reader.tags if tag == "td"]
    headings = [heading_of(one) for one in spread(TABLES[name]).columns]
    assert [(attrs["data-label"] or "").replace("\u200b", "") for attrs in cells[: len(headings)]] == headings
    assert {attrs["role"] for attrs in cells} == {"cell"}


def test_decimals_are_even() -> None:
    cells = Reader(chart_page(TABLES["four_figures"]).body).cells
    assert cells[4:] == ["487", "229,028.50", "470.28", "50"]
    several = table([group("g"), number("sum")], [("a", 229028.5), ("b", 3), ("c", 1.256), ("d", -0.0)])
    assert Reader(chart_page(several).body).cells[3::2] == ["229,028.500", "3.000", "1.256", "0.000"]
    assert [one["decimals"] for one in data_of(Reader(chart_page(several).body))["measures"][0]["series"]] == [3]


def test_lines_of_a_heading_break_between_words() -> None:
    page = chart_page(TABLES["days_by_name"]).body
    assert b"<bdi>event_<wbr>name</bdi>" in page


def test_a_fraction_that_is_shown_rounded_is_there_as_a_whole() -> None:
    reader = Reader(chart_page(table([number("avg")], [(145 / 3,)])).body)
    assert ("data", {"value": repr(145 / 3)}) in reader.tags


def test_a_time_is_there_for_machines() -> None:
    reader = Reader(chart_page(table([TIME, COUNT], [(T0, 1)], interval="hour", time_zone="Europe/Berlin")).body)
    assert ("time", {"datetime": "2025-10-26T02:00:00.000+02:00"}) in reader.tags


def fields(reply: Reply) -> dict[str, str]:
    assert len({name for name, _ in reply.headers}) == len(reply.headers)
    return dict(reply.headers)


PAGES = [chart_page(TABLES["hours"]), chart_page(TABLES["empty"]), notice_page(410, "This link has expired", "Ask.")]


@pytest.mark.parametrize("reply", PAGES)
def test_the_header_fields(reply: Reply) -> None:
    headers = fields(reply)
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["content-length"] == str(len(reply.body))
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    directives = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["frame-ancestors"] == "'self'"
    assert directives["sandbox"] == "allow-scripts allow-downloads"
    assert "unsafe" not in headers["content-security-policy"]
    assert not re.search(r"https?:|\*", headers["content-security-policy"])


@pytest.mark.parametrize("reply", PAGES)
def test_the_policy_lets_in_the_page_s_own_script_and_style_alone(reply: Reply) -> None:
    reader = Reader(reply.body)
    sums = re.findall(r"'(sha256-[^']+)'", fields(reply)["content-security-policy"])
    scripts = [tag for tag in reader.tags if tag[0] == "script"]
    running = [
        text for (_, attrs), text in zip(scripts, reader.inside["script"], strict=True) if attrs.get("type") is None
    ]
    for text in (*running, *reader.inside["style"]):
        assert "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in sums
    assert len(running) <= 1
    for _, attrs in reader.tags:
        assert not {"style", "src", "onload", "onclick"} & attrs.keys()
        assert (attrs.get("href") or "#").startswith("#")


def test_whom_a_frame_may_belong_to() -> None:
    headers = fields(chart_page(TABLES["empty"], None, ("'self'", "https://shop.example")))
    assert "frame-ancestors 'self' https://shop.example;" in headers["content-security-policy"]
    assert "frame-ancestors" not in policy(()).split("frame-ancestors ;")[0]


def test_a_notice_says_what_to_do() -> None:
    told = notice_page(410, "Gone", "It is over.", ways=[("You follow <it>", "Ask.")]).body
    assert b"<dt>You follow &lt;it&gt;</dt><dd>Ask.</dd>" in told
    assert b"Try again" not in told
    assert b'<a class="button" href="">Try again</a>' in notice_page(503, "Away", "Soon.").body


def test_a_notice_says_why_and_runs_nothing() -> None:
    reply = notice_page(410, "Gone <b>", "Ask & see.")
    assert reply.status == 410
    assert b"Gone &lt;b&gt;" in reply.body
    assert b"<script" not in reply.body


def test_what_is_missing_is_said() -> None:
    assert b"No event in this period" in chart_page(TABLES["empty"]).body
    assert b"the first 160 rows; there are more" in chart_page(TABLES["many_groups"]).body
    assert b">1 row<" in chart_page(TABLES["figures"]).body


def test_the_vendored_files_are_those_of_the_package() -> None:
    origin = VENDOR.joinpath("ORIGIN.md").read_text()
    sums = dict(re.findall(r"\| `([^`]+)` \| `([0-9a-f]{64})` \|", origin))
    assert set(sums) == {one.name for one in VENDOR.iterdir()} - {"ORIGIN.md"}
    for name, expected in sums.items():
        assert hashlib.sha256(VENDOR.joinpath(name).read_bytes()).hexdigest() == expected
    assert "MIT License" in VENDOR.joinpath("LICENSE").read_text()


# ── Colours ────────────────────────────────────────────────────────────────────────────────────────────────────────────

CSS = files("eventmw.charts").joinpath("assets", "chart.css").read_text()
# How colours look to eyes that lack a kind of cones. Source: Machado, Oliveira, Fernandes 2009, table of severity 1.0.
EYES = {
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def colours(theme: str) -> dict[str, str]:
    block = CSS.split(":root")[1 if theme == "light" else 2]
    return dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6})", block))


def light(colour: str) -> list[float]:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def contrast(one: str, other: str) -> float:
    """Source: WCAG 2.2, «contrast ratio»."""
    low, high = sorted(
        sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), light(c), strict=True)) for c in (one, other)
    )
    return (high + 0.05) / (low + 0.05)


def oklab(colour: str, eyes: str) -> tuple[float, float, float]:
    """Source: Björn Ottosson, «A perceptual color space for image processing»."""
    r, g, b = (min(1, max(0, sum(w * p for w, p in zip(row, light(colour), strict=True)))) for row in EYES[eyes])
    l_ = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    m_ = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    s_ = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * l_ + 0.7936177850 * m_ - 0.0040720468 * s_,
        1.9779984951 * l_ - 2.4285922050 * m_ + 0.4505937099 * s_,
        0.0259040371 * l_ + 0.7827717662 * m_ - 0.8086757660 * s_,
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_and_lines_stand_out_from_the_ground(theme: str) -> None:
    found = colours(theme)
    assert contrast(found["ink"], found["ground"]) > 12
    for ground in ("ground", "raised"):
        assert contrast(found["soft"], found[ground]) >= 4.5
    for at in range(8):
        assert contrast(found[f"s{at}"], found["ground"]) >= 3


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("eyes", EYES)
def test_every_eye_tells_the_lines_apart(theme: str, eyes: str) -> None:
    found = colours(theme)
    for one, other in combinations([found[f"s{at}"] for at in range(8)], 2):
        assert 100 * dist(oklab(one, eyes), oklab(other, eyes)) > 6


def test_hours_have_one_page_each_time() -> None:
    """Nothing of chance or time is in a page: the same table is the same page."""
    given: Table = table([TIME, COUNT], [(T0, 1), (T0 + HOUR, 2)], interval="hour")
    assert chart_page(given) == chart_page(given)
