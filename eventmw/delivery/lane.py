"""A lane: one tool's way through the journal, from its place to its Outcomes.

`Intake` reads the log, and `Revival` what is parked; `Admission` shows both to the tool and fills its `SendQueue`; and
`Settlement` commits how events end. Everything is synchronous and in small steps (`intake` and `settle` are iterators that
pause after each event), so that whoever drives it decides when to rest.

Layer: input and output on the journal only; no thread, no event loop, no socket.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from eventmw.clock import Clock
from eventmw.contract import BoundTool
from eventmw.delivery.admission import Admission
from eventmw.delivery.circuit import Phase
from eventmw.delivery.dispatcher import Dispatcher
from eventmw.delivery.duplicates import Duplicates
from eventmw.delivery.endings import Ended, Ending, Moment
from eventmw.delivery.holds import Watch
from eventmw.delivery.intake import Intake
from eventmw.delivery.queue import SendQueue
from eventmw.delivery.revival import Revival
from eventmw.delivery.settlement import Settlement, plain
from eventmw.journal import Lease, ToolStats
from eventmw.outcome import BURIED, Outcome

log = logging.getLogger("eventmw.delivery.courier")

PARKED_CAP: Final = 5000
"""Parked items of one tool, past which it reads no further. Source: JOURNAL.md «State»."""

_MAX_REPORTS: Final = 100


@dataclass(frozen=True, slots=True)
class LaneState:
    """How a lane is doing, for stats. ``next_probe_ms`` is wall time, or None while the tool flows.

    ``phase`` is that of the tool's circuit, or ``off``: the tool was switched off, and `last_error` says why. While the tool
    stands, `last_error` is what failed last. `last_failure` is the same, whatever the phase is.
    """

    phase: Phase | Literal["off"]
    attempts: int
    next_probe_ms: int | None
    in_flight: int
    last_error: str
    last_failure: str = ""
    last_failure_ms: int | None = None


class Lane:
    """One tool's way through the journal. Lives as long as its lease; not thread-safe.

    Attributes:
        queue: what is to be sent and what is decided of it.
        off: why the tool is switched off, "" while it is not.
    """

    def __init__(
        self,
        tool: BoundTool,
        dispatcher: Dispatcher,
        lease: Lease,
        duplicates: Duplicates,
        clock: Clock,
        *,
        dry_run: bool = False,
        on_outcome: Callable[[Outcome], object] | None = None,
        watch: Watch | None = None,
    ) -> None:
        watch = watch or Watch(look_s=None)
        self.tool = tool
        self.queue = SendQueue(tool, dry_run=dry_run)
        self.off = ""
        self._lease = lease
        self._clock = clock
        queue, self._admission = self.queue, Admission(tool, dispatcher, clock, self.queue, watch)
        self._revival = Revival(tool, dispatcher, lease, clock, queue=queue, admission=self._admission)
        self._intake = Intake(
            tool,
            dispatcher,
            lease,
            duplicates,
            queue=queue,
            admission=self._admission,
            revival=self._revival,
        )
        self._settlement = Settlement(tool, dispatcher.single, clock, on_outcome, watch)
        self._reported: set[tuple[str, str]] = set()

    def moment(self) -> Moment:
        """Return now."""
        return self._admission.moment()

    def state(self) -> LaneState:
        """Return how the lane is doing. May be called from any thread."""
        circuit, in_flight = self.queue.circuit, len(self.queue.flying)
        failure = self.queue.failure
        last = ("", None) if failure is None else (plain(failure.reason), failure.at_ms)
        if self.off:
            return LaneState("off", circuit.attempts, None, in_flight, self.off, *last)
        wait_s = circuit.probe_at_s - self._clock.monotonic_s()
        probe_ms = None if circuit.phase == "flowing" else self._clock.now_ms() + max(0, round(1000 * wait_s))
        # An event that failed beside the stuck ones is newer than what opened the circuit.
        error = last[0] if circuit.last_error and last[0] else circuit.last_error
        return LaneState(circuit.phase, circuit.attempts, probe_ms, in_flight, error, *last)

    def wait_s(self) -> float | None:
        """Return for how long nothing will happen by itself, until a batch or a parked item is due. None: for ever."""
        if self.off:
            return None
        waits: list[float] = []
        if self.queue.wakes_at_s is not None:
            waits.append(self.queue.wakes_at_s - self._clock.monotonic_s())
        if (due_ms := self._revival.due_in_ms()) is not None:
            waits.append(due_ms / 1000)
        return max(0.0, min(waits)) if waits else None

    def intake(self) -> Iterator[None]:
        """Read ahead while there is room, one event a step."""
        return self._intake.read()

    def is_hungry(self) -> bool:
        """Return whether `intake` stopped for another reason than that the log was at its end."""
        return self._intake.is_hungry()

    def is_idle(self) -> bool:
        """Return whether nothing is in memory, nothing is due, and the last look at the log found nothing."""
        return self._intake.is_done() and self._settlement.is_empty()

    def switch_off(self, why: str) -> None:
        """Ask nothing of the tool any more. Its place stands still, and what is in flight may land."""
        self.off = why
        self._admission.closed = True

    def settle(self) -> Iterator[None]:
        """Prepare the commit of what was decided, one ending a step; `commit` carries it out."""
        endings = self.queue.endings
        while endings and not self._settlement.is_full():
            ending = self._settle(endings[0])
            endings.popleft()
            if isinstance(ending, Ended) and ending.kind in BURIED:
                self._report(ending.kind, ending.reason)
            yield

    def _settle(self, ending: Ending) -> Ending:
        try:
            self._settlement.add(ending)
        except Exception as error:  # noqa: BLE001 - an ending that cannot be written must not lose its event
            ending = Ended(ending.item, "tool_error", self.tool.troubles.note("settling it", error))
            self._settlement.add(ending)
        return ending

    def commit(self) -> bool:
        """Commit what was settled. Returns whether there was anything."""
        keys = self._settlement.commit(self._lease)
        self._intake.landed(keys)
        return bool(keys)

    def survey(self, stats: ToolStats) -> None:
        """Look at how far behind the tool is: while it stands, what is over its cap or too old ends, the oldest first."""
        self._intake.crowded = stats.parked >= PARKED_CAP
        if not self._stands() or not self._settlement.is_empty():
            return  # what is decided and not committed yet is still in these figures
        over = stats.backlog_bytes - self.tool.delivery.backlog_bytes
        if over > 0:
            self.queue.shed(over, self.moment())
        if stats.parked:
            self._revival.expire()

    def wants_survey(self) -> bool:
        """Return whether `survey` could change anything."""
        return self._intake.crowded or self._stands() or self._lease.next_due_ms(self.tool.id) is not None

    def _stands(self) -> bool:
        return self.queue.circuit.phase == "standing" or bool(self.off)

    def _report(self, kind: str, reason: str) -> None:
        """Log a kind of trouble once: a tool that fails on every event must not fill the disk."""
        if (kind, reason) in self._reported or len(self._reported) >= _MAX_REPORTS:
            return
        self._reported.add((kind, reason))
        level = (
            logging.ERROR if kind == "tool_error" else logging.WARNING
        )  # a mistake of the tool's own code, or the vendor's no
        log.log(
            level, "tool %s buries events as %s, which `eventmw dead list` shows: %s", self.tool.id, kind, plain(reason)
        )
