"""The figures of all processes as Prometheus reads them: names, help, types and labels.

What one process did carries a label ``process``. The journal's figures do so only where each process has a journal of its
own (``memory``); of one that is shared they stand once.

Layer: input and output, for the tally's sake; pure rules over what `eventmw.watching.tally` and `eventmw.control.standing`
show. The only importer of prometheus-client.
Source: prometheus.io, «Metric and label naming»; base units, ``_total`` for counters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, get_args

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

from eventmw.delivery.circuit import Phase
from eventmw.outcome import OUTCOME_KINDS
from eventmw.version import VERSION
from eventmw.watching.tally import BOUNDS_S

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

# Name in the tally → (name without «eventmw_» and suffix, help, labels after the process).
_COUNTERS: Final[Mapping[str, tuple[str, str, Sequence[str]]]] = {
    "requests": (
        "requests",
        "Requests to the events API that were answered, by status and problem code.",
        ("status", "code"),
    ),
    "events": ("events", "Events at the door. A duplicate was accepted as well.", ("result",)),
    "event_warnings": ("event_warnings", "What looked wrong in accepted events, by its code.", ("code",)),
    "component_errors": ("component_errors", "Times that a tool raised or returned rubbish.", ("tool", "where")),
    "deliveries": ("deliveries", "Requests to tools' vendors, files and functions that ended.", ("tool", "status")),
}
_HISTOGRAMS: Final[Mapping[str, tuple[str, str, Sequence[str]]]] = {
    "request_duration": ("request_duration_seconds", "From a request's head to the answer.", ()),
    "append_duration": ("append_duration_seconds", "From handing a record to the journal until it was kept.", ()),
    "delivery_duration": ("delivery_duration_seconds", "From sending a request to a vendor to its answer.", ("tool",)),
}
_GAUGES: Final[Mapping[str, tuple[str, str, Sequence[str]]]] = {
    "courier_lag": ("courier_lag_seconds", "Age of the record that the courier took up last; 0 at the end.", ("tool",)),
}
_JOURNAL: Final[Mapping[str, tuple[str, str]]] = {
    "bytes": ("journal_bytes", "Bytes that count against the journal's cap."),
    "cap_bytes": ("journal_cap_bytes", "Bytes that the journal may take."),
    "records": ("journal_records", "Records that are kept now, consumed ones among them."),
    "events": ("journal_events", "Events that are kept now, consumed ones among them."),
}
_TOOL: Final[Mapping[str, tuple[str, str]]] = {
    "backlog_events": ("tool_backlog_events", "Events that the tool is still to get."),
    "backlog_bytes": ("tool_backlog_bytes", "Bytes of the records that hold them."),
    "parked": ("tool_parked_events", "Events that failed alone and wait for another attempt."),
    "dead": ("tool_dead_letters", "Dead letters that are kept now."),
}
_LANE: Final[Mapping[str, tuple[str, str]]] = {
    "in_flight": ("tool_in_flight_requests", "Requests to the vendor that are under way."),
    "attempts": ("tool_failed_attempts", "Times in a row that the vendor failed; 0 while the tool flows."),
}
_PHASES: Final[tuple[str, ...]] = (*get_args(Phase), "off")
_EVICTED: Final = "dead_evicted"


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one process shows: its name, ``Runtime.stats()`` or its part of it, and ``Tally.as_json()``."""

    process: str
    stats: Mapping[str, Any]
    tally: Mapping[str, Any]


class Exposition:
    """Writes figures in a registry of its own, which nothing else of the process is in."""

    def __init__(self) -> None:
        self._shown: Sequence[Metric] = ()
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Return what is shown; the registry asks for it."""
        return self._shown

    def text(self, sightings: Sequence[Sighting], silent: int, now_ms: int) -> bytes:
        """Return the figures in Prometheus' text format. Not thread-safe: make one for each answer.

        Args:
            sightings: the process that answers first, with all of its ``stats``, then the others.
            silent: how many processes did not tell theirs.
            now_ms: wall time, milliseconds since 1970.
        """
        self._shown = list(families(sightings, silent, now_ms))
        return generate_latest(self._registry)


def families(sightings: Sequence[Sighting], silent: int, now_ms: int) -> Iterator[Metric]:
    """Return all families; see `Exposition.text`."""
    yield InfoMetricFamily("eventmw", "The version that answers.", {"version": VERSION})
    yield GaugeMetricFamily("eventmw_silent_processes", "Processes that did not tell their figures in time.", silent)
    yield from _tallied(sightings)
    yield from _own(sightings)
    yield from _journal(sightings, now_ms)


def _tallied(sightings: Sequence[Sighting]) -> Iterator[Metric]:
    for key, (name, text, labels) in _COUNTERS.items():
        counter = CounterMetricFamily(f"eventmw_{name}", text, labels=("process", *labels))
        for process, (_, *values), number in _series(sightings, "counts", key):
            counter.add_metric((process, *values), number)
        yield counter
    for key, (name, text, labels) in _GAUGES.items():
        gauge = GaugeMetricFamily(f"eventmw_{name}", text, labels=("process", *labels))
        for process, (_, *values), number in _series(sightings, "gauges", key):
            gauge.add_metric((process, *values), number)
        yield gauge
    for key, (name, text, labels) in _HISTOGRAMS.items():
        histogram = HistogramMetricFamily(f"eventmw_{name}", text, labels=("process", *labels))
        for process, (_, *values), buckets, total in _series(sightings, "histograms", key):
            histogram.add_metric((process, *values), _cumulated(buckets), total)
        yield histogram


def _cumulated(buckets: Sequence[int]) -> list[tuple[str, float]]:
    return list(zip((*map(str, BOUNDS_S), "+Inf"), accumulate(buckets), strict=True))


def _series(sightings: Iterable[Sighting], kind: str, key: str) -> Iterator[Sequence[Any]]:
    for sighting in sightings:
        for series, *values in sighting.tally.get(kind, ()):
            if series[0] == key:
                yield sighting.process, series, *values


def _own(sightings: Sequence[Sighting]) -> Iterator[Metric]:
    """Return what each process says of itself: whether its journal takes events, and of its courier's lanes."""
    ready = GaugeMetricFamily("eventmw_journal_ready", "1 while the journal takes events.", labels=("process",))
    leads = GaugeMetricFamily("eventmw_courier_leading", "1 in the process that delivers.", labels=("process",))
    states = GaugeMetricFamily(
        "eventmw_tool_state", "1 for the state that the tool is in.", labels=("process", "tool", "state")
    )
    numbers = {
        key: GaugeMetricFamily(f"eventmw_{name}", text, labels=("process", "tool"))
        for key, (name, text) in _LANE.items()
    }
    for sighting in sightings:
        process, stats = sighting.process, sighting.stats
        ready.add_metric((process,), not stats.get("not_ready", ""))
        lanes = {ident: tool["lane"] for ident, tool in stats["tools"].items() if tool["lane"] is not None}
        leads.add_metric((process,), bool(lanes))
        for ident, lane in lanes.items():
            for phase in _PHASES:
                states.add_metric((process, ident, phase), lane["phase"] == phase)
            for key, family in numbers.items():
                family.add_metric((process, ident), lane[key])
    yield from (ready, leads, states, *numbers.values())


def _journal(sightings: Sequence[Sighting], now_ms: int) -> Iterator[Metric]:
    """Return the journal's figures: of each process where each has its own, else once."""
    apart = sightings[0].stats["durability"] == "memory"
    labels = ("process",) if apart else ()
    told = [
        ((sighting.process,) if apart else (), sighting.stats) for sighting in (sightings if apart else sightings[:1])
    ]
    for key, (name, text) in _JOURNAL.items():
        gauge = GaugeMetricFamily(f"eventmw_{name}", text, labels=labels)
        for values, stats in told:
            gauge.add_metric(values, stats[key])
        yield gauge
    tools = [((*values, ident), tool) for values, stats in told for ident, tool in stats["tools"].items()]
    yield from _tools(tools, (*labels, "tool"), now_ms)


def _tools(
    tools: Sequence[tuple[tuple[str, ...], Mapping[str, Any]]], labels: Sequence[str], now_ms: int
) -> Iterator[Metric]:
    for key, (name, text) in _TOOL.items():
        gauge = GaugeMetricFamily(f"eventmw_{name}", text, labels=labels)
        for values, tool in tools:
            gauge.add_metric(values, tool[key])
        yield gauge
    age = GaugeMetricFamily(
        "eventmw_tool_oldest_event_age_seconds",
        "Age of the oldest event of the backlog; 0 when it is empty.",
        labels=labels,
    )
    outcomes = CounterMetricFamily("eventmw_outcomes", "Events that ended, by how.", labels=(*labels, "outcome"))
    evicted = CounterMetricFamily(
        "eventmw_dead_letters_evicted", "Dead letters that left because there was no room for more.", labels=labels
    )
    for values, tool in tools:
        oldest_ms: int | None = tool["oldest_ms"]
        age.add_metric(values, 0 if oldest_ms is None else max(0, now_ms - oldest_ms) / 1000)
        for kind in OUTCOME_KINDS:
            outcomes.add_metric((*values, kind), tool["outcomes"].get(kind, 0))
        evicted.add_metric(values, tool["outcomes"].get(_EVICTED, 0))
    yield from (age, outcomes, evicted)
