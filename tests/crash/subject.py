"""The subject in process: the real runtime, journal and courier, with threads for clients. One call is one life.

The clients do what a gateway does: judge a payload, append its record, wait for the future, and only then say so.
"""

from __future__ import annotations

import logging
import sys
import threading
from concurrent.futures import wait

from eventmw import record as records
from eventmw.config import Config, Limits
from eventmw.contract import Delivery
from eventmw.effects import Order
from eventmw.errors import JournalDown, JournalFull
from eventmw.http import HttpReply, HttpRequest
from eventmw.intake.door import ANONYMOUS, Visit
from eventmw.runtime import Runtime
from eventmw.tools import Webhook
from tests.crash import broken, marks
from tests.crash.payload import body, names_in
from tests.crash.scenario import Scenario

APPEND_S = 5.0
DRAIN_S = 15.0
NOT_DRAINED = 3
INSIDE = "http://127.0.0.1:9/inside"
_VISIT = Visit(ANONYMOUS, "", None, "", None, None)


class Inside:
    """A vendor inside the process: it leaves a mark for each event, and answers."""

    async def send(self, order: Order, *, timeout_s: float) -> HttpReply:
        """Mark the events of one request."""
        assert isinstance(order, HttpRequest)
        marks.leave("got", names_in(order.body))
        return HttpReply(200)

    async def close(self) -> None:
        """Have nothing to let go of."""


def live(scenario: Scenario) -> int:
    """Live one life, and return the exit status."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    marks.opened(scenario.marks)
    broken.breakage(scenario.broken).before()
    runtime = built(scenario)
    runtime.courier.start()
    if scenario.task == "work":
        work(scenario, runtime)
        if not scenario.closes:
            return 0
    drained = runtime.courier.drain(DRAIN_S)
    runtime.courier.stop()
    runtime.journal.close(1.0)
    return 0 if drained else NOT_DRAINED


def built(scenario: Scenario) -> Runtime:
    """Return the runtime of a scenario, broken as it asks for."""
    delivery = Delivery(
        ordered=scenario.ordered,
        window=scenario.window,
        timeout_s=2.0,
        first_backoff_s=0.02,
        max_backoff_s=0.2,
    )
    tool = Webhook(scenario.url or INSIDE, batch=scenario.batch, delivery=delivery)
    config = Config(
        path="/zaraz/api",
        tools=[tool],
        data_dir=str(scenario.data),
        journal=scenario.journal,
        limits=Limits(append_timeout_s=APPEND_S),
    )
    runtime = Runtime(config)
    if not scenario.url:
        runtime.transport = Inside
    broken.breakage(scenario.broken).after(runtime)
    return runtime


def work(scenario: Scenario, runtime: Runtime) -> None:
    """Have all clients append what the scenario says."""
    threads = [threading.Thread(target=_client, args=(scenario, runtime, n)) for n in range(scenario.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _client(scenario: Scenario, runtime: Runtime, number: int) -> None:
    client = f"{scenario.life}-{number}"
    for request in range(scenario.requests):
        first = request * scenario.events
        names = [f"{client}.{first + n}" for n in range(scenario.events)]
        accepted = runtime.accept(body(names, scenario.size), _VISIT)
        marks.leave("sent", names)
        try:
            kept = runtime.journal.append(
                records.encode(accepted.record),
                events=scenario.events,
                recorded_ms=accepted.record.recorded_ms,
                stamp=runtime.clock.stamp_ns(),
            )
            wait([kept], APPEND_S)
            kept.result(0)
        except (JournalDown, JournalFull, TimeoutError):
            continue  # a 503: nobody knows
        marks.leave("acked", names)
