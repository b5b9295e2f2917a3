"""What happened, held against what was promised: rows for the table, and a sentence for each promise that was not kept.

Layer: pure.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from eventmw.demo.story import Fate, Promise, Step

RESULT_KEYS: Final = ("fetch", "execute", "return", "cookies")


@dataclass(frozen=True, slots=True)
class Answer:
    """A site's answer; status 0 means that there was none, and the body says why."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the site as bytes, with eventmw around it and without."""

    request: str
    wrapped: bytes
    bare: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """All that was seen of one site.

    Attributes:
        site: its name.
        answers: one for each step of the story.
        arrivals: side of the vendor → event id → how many requests brought it.
        pages: the pages that were compared.
        stats: what the site says of its events, as `eventmw.site.Site.stats` has it.
    """

    site: str
    answers: Sequence[Answer]
    arrivals: Mapping[str, Mapping[str, int]]
    pages: Sequence[Page]
    stats: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer says of one event."""

    fate: Fate
    id: str = ""
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One promise at one site: a number to show, and why the promise was not kept, or "" when it was."""

    number: int | None
    trouble: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: ``cells`` has one for each site, in order."""

    title: str
    label: str
    http: str
    words: str
    cells: Sequence[Cell]


def told(answer: Answer, events: int) -> Sequence[Told]:
    """Return what an answer says of each of the `events` events of its request: ``len(result) == events``."""
    try:
        body = json.loads(answer.body)
        if "unique_req_id" in body:
            return [Told("delivered", body["unique_req_id"])] * events
        return _from_receipt(body["receipt"], events) if answer.status == 200 else [_from_problem(body)] * events  # noqa: PLR2004 - OK
    except (ValueError, LookupError, TypeError):
        return [Told("refused", reason=f"an answer that cannot be read: {answer.body[:80]!r}")] * events


def _from_receipt(receipt: Mapping[str, Any], events: int) -> Sequence[Told]:
    entries: dict[int, Mapping[str, Any]] = {}
    for entry in cast(list[dict[str, Any]], receipt["events"]):
        entries.setdefault(entry["index"], entry)
    return [_from_entry(entries[index]) for index in range(events)]


def _from_entry(entry: Mapping[str, Any]) -> Told:
    match entry["status"]:
        case "invalid":
            return Told("refused", entry["id"], entry["code"], entry["message"])
        case "duplicate":
            return Told("duplicate", entry["id"])
        case _:
            return Told("delivered", entry["id"])


def _from_problem(problem: Mapping[str, Any]) -> Told:
    if "details" in problem:  # the track API's
        detail = problem["details"][0]
        return Told("refused", "", detail["code"], detail["message"])
    code, detail = problem["code"], problem["detail"]
    errors = problem.get("errors")
    return Told("refused", "", code, errors[0]["message"] if errors else detail)


def rows(story: Sequence[Step], visits: Sequence[Visit]) -> Sequence[Row]:
    """Return the whole table: the events in the order of the story, then what is promised of each site as such."""
    return [*_event_rows(story, visits), *_site_rows(story, visits)]


def troubles(table: Iterable[Row], sites: Sequence[str]) -> Iterator[str]:
    """Return a sentence for each promise that was not kept."""
    for row in table:
        for site, cell in zip(sites, row.cells, strict=True):
            if cell.trouble:
                yield f"{site}, {row.label}: {cell.trouble}"


def total(story: Sequence[Step], visits: Sequence[Visit]) -> str:
    """Return what became of all events at all sites, in one sentence."""
    fates = Counter(
        said.fate
        for visit in visits
        for step, answer in zip(story, visit.answers, strict=True)
        for said in told(answer, len(step.promises))
    )
    arrived = sum(sum(side.values()) for visit in visits for side in visit.arrivals.values())
    return (
        f"{fates['delivered']} events accepted: the vendor that is well had each once, the two that fail had theirs again "
        f"until they took it ({arrived} arrivals in all). {fates['duplicate']} duplicates were not sent again; "
        f"{fates['refused']} events and requests were refused with the reason."
    )


def _event_rows(story: Sequence[Step], visits: Sequence[Visit]) -> Iterator[Row]:
    for number, step in enumerate(story):
        for index, promise in enumerate(step.promises):
            heard = [told(visit.answers[number], len(step.promises))[index] for visit in visits]
            yield Row(
                title=step.title if index == 0 else "",
                label=promise.event,
                http=str(step.status),
                words=promise.words or f"refused: {heard[0].reason.removesuffix('.')}",
                cells=[
                    _event_cell(step, promise, visit, number, said) for visit, said in zip(visits, heard, strict=True)
                ],
            )


def _event_cell(step: Step, promise: Promise, visit: Visit, number: int, said: Told) -> Cell:
    answer = visit.answers[number]
    if answer.status != step.status:
        return Cell(None, f"HTTP {step.status} was promised, and {_seen(answer, said)}")
    if (said.fate, said.code) != (promise.fate, promise.code):
        return Cell(
            None, f"it was to be {promise.fate} {promise.code}".rstrip() + f", and it was {said.fate} {said.code}"
        )
    arrived = visit.arrivals.get(promise.vendor, {}).get(said.id, 0) if promise.fate == "delivered" else None
    wrong = arrived is not None and arrived != promise.arrivals
    return Cell(
        arrived, f"it was to come {promise.arrivals} times to the vendor, and came {arrived} times" if wrong else ""
    )


def _seen(answer: Answer, said: Told) -> str:
    if answer.status == 0:
        return f"there was no answer: {answer.body.decode(errors='replace')}"
    return f"HTTP {answer.status} came: {said.code} {said.reason}".rstrip(": ")


def _site_rows(story: Sequence[Step], visits: Sequence[Visit]) -> Sequence[Row]:
    each = f"{len(_accepted(story, visits[0]))} events by {len(visits[0].stats.get('tools', {}))} tools"
    checks = (
        ("events at the vendor", "all good ones, once by their id", [_vendor_cell(story, visit) for visit in visits]),
        ("Result Object", "has fetch, execute, return and cookies", [_result_cell(visit) for visit in visits]),
        ("outcomes", f"one for each event and tool: {each}", [_outcome_cell(story, visit) for visit in visits]),
        ("pages", "byte for byte as without eventmw", [_page_cell(visit) for visit in visits]),
    )
    return [
        Row(title="" if number else "Each site as a whole", label=label, http="", words=words, cells=cells)
        for number, (label, words, cells) in enumerate(checks)
    ]


def _accepted(story: Sequence[Step], visit: Visit) -> Sequence[Told]:
    heard = (told(answer, len(step.promises)) for step, answer in zip(story, visit.answers, strict=True))
    return [said for step in heard for said in step if said.fate != "refused"]


def _vendor_cell(story: Sequence[Step], visit: Visit) -> Cell:
    wanted = {said.id for said in _accepted(story, visit)}
    had = set(visit.arrivals.get("steady", {}))
    trouble = f"{len(wanted - had)} of {len(wanted)} are missing, and {len(had - wanted)} came that should not have"
    return Cell(len(had), trouble if had != wanted else "")


def _result_cell(visit: Visit) -> Cell:
    # The fullest one: on a machine that is very busy the time for answering may be up before the last tool.
    lacking = min(
        (_lacking(result) for answer in visit.answers for result in _results(answer)), key=len, default=RESULT_KEYS
    )
    return Cell(len(RESULT_KEYS) - len(lacking), f"{', '.join(lacking)} held nothing" if lacking else "")


def _results(answer: Answer) -> Sequence[Mapping[str, Any]]:
    try:
        return cast(Sequence[Mapping[str, Any]], json.loads(answer.body)["results"])
    except (ValueError, LookupError, TypeError):
        return ()


def _lacking(result: Mapping[str, Any]) -> Sequence[str]:
    return [key for key in RESULT_KEYS if not result.get(key)]


def _outcome_cell(story: Sequence[Step], visit: Visit) -> Cell:
    tools = cast(Mapping[str, Mapping[str, Any]], visit.stats.get("tools", {}))
    promised = len(_accepted(story, visit)) * len(tools)
    counted = sum(sum(tool["outcomes"].values()) for tool in tools.values())
    waiting = sum(tool["backlog_events"] + tool["parked"] for tool in tools.values())
    trouble = f"{promised} were promised, {counted} were counted, and {waiting} events still wait"
    return Cell(counted, trouble if not tools or counted != promised or waiting else "")


def _page_cell(visit: Visit) -> Cell:
    changed = [page.request for page in visit.pages if not page.bare or page.wrapped != page.bare]
    trouble = f"{', '.join(changed)} differed" if changed else "none was compared"
    return Cell(len(visit.pages) - len(changed), trouble if changed or not visit.pages else "")
