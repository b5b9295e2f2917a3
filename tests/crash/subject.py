"""The subject in process: the real runtime, journal and courier, with threads for clients. One call is one life.

The clients do what a gateway does: judge a payload, append its record, wait for the future, and only then say so.
"""

from __future__ import annotations

import json
import logging
import random
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from eventmw import record as records
from eventmw.config import Config, Limits
from eventmw.contract import Delivery
from eventmw.delivery.transport import TransportError
from eventmw.effects import DONE, Order, Send, Verdict, dead, retry
from eventmw.errors import ConfigError, JournalDown, JournalFull
from eventmw.event import Event
from eventmw.http import HttpReply, HttpRequest
from eventmw.intake.door import ANONYMOUS, Visit
from eventmw.journal.files import FileJournal, epochs, layout, stream
from eventmw.runtime import Runtime
from eventmw.tools import Webhook
from tests.crash import broken, marks
from tests.crash.payload import body, names_in, who
from tests.crash.scenario import Scenario
from tests.crash.skewed import reboot

APPEND_S = 5.0
DRAIN_S = 15.0
NOT_DRAINED = 3
NOT_STARTED = 4
INSIDE = "http://127.0.0.1:9/inside"
_VISIT = Visit(ANONYMOUS, "", None, "", None, None)


class PerItem:
    """The webhook, for a vendor that says of each event what came of it: 207 with a list of verdicts by name."""

    id = "webhook"

    def __init__(self, webhook: Webhook) -> None:
        self.delivery = webhook.delivery
        self.handle, self.pack = webhook.handle, webhook.pack
        self._verdict = webhook.verdict

    def verdict(self, reply: HttpReply, items: Sequence[Send]) -> Sequence[Verdict]:
        """Judge each event."""
        if reply.status != 207:
            return self._verdict(reply, items)
        return [_VERDICTS[word] for word in json.loads(reply.body)]


_VERDICTS = {"done": DONE, "retry": retry("busy", 0.01), "dead": dead("bad")}


class Inside:
    """A vendor inside the process: it leaves a mark for each event that it has, and answers."""

    def __init__(self, scenario: Scenario) -> None:
        self._vendor = scenario.vendor
        self._chance = random.Random(scenario.seed + scenario.life)

    async def send(self, order: Order, *, timeout_s: float, connect_timeout_s: float = 2.0) -> HttpReply:
        """Mark the events of one request, unless it is not one's day."""
        assert isinstance(order, HttpRequest)
        if self._vendor == "away":
            raise TransportError("nobody is there")
        if self._vendor == "flaky" and self._chance.random() < 0.3:
            return HttpReply(self._chance.choice([400, 422, 429, 500]))
        whose = names_in(order.body)
        words = [self._word() for _ in whose]
        marks.leave("got", [name for name, word in zip(whose, words, strict=True) if word == "done"])
        return HttpReply(207, body=json.dumps(words).encode())

    def _word(self) -> str:
        return self._chance.choice(["done", "done", "retry", "dead"]) if self._vendor == "flaky" else "done"

    async def close(self) -> None:
        """Have nothing to let go of."""


def live(scenario: Scenario) -> int:
    """Live one life, and return the exit status."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    marks.opened(scenario.marks)
    broken.breakage(scenario.broken).before()
    if scenario.reboots:
        reboot(scenario.life)
    try:
        runtime = built(scenario)
    except (ConfigError, JournalDown) as error:  # it says what is wrong with the folder, and the site does not start
        print(error, file=sys.stderr)
        return NOT_STARTED
    runtime.courier.start()
    if scenario.task == "work":
        work(scenario, runtime)
        if not scenario.closes:
            return 0
    drained = drain(runtime, DRAIN_S if scenario.vendor != "away" else 0.1)
    runtime.courier.stop()
    marks.leave("buried", [name for letter in runtime.journal.dead_letters() for name in names(runtime, letter.record)])
    runtime.journal.close(1.0)
    return 0 if drained or scenario.vendor == "away" else NOT_DRAINED


def drain(runtime: Runtime, timeout_s: float) -> bool:
    """Deliver everything, what is parked until later too; False when that took too long."""
    until = time.monotonic() + timeout_s
    while (left_s := until - time.monotonic()) > 0:
        if runtime.courier.drain(left_s) and not any(tool.parked for tool in runtime.journal.stats().tools):
            return True
        time.sleep(0.02)
    return False


def built(scenario: Scenario) -> Runtime:
    """Return the runtime of a scenario, broken as it asks for.

    Files begin small, so that a short life comes to their ends as well: the sizes are the journal's, not its rules.
    """
    stream.FIRST_BYTES = scenario.segment_bytes  # type: ignore[misc]
    epochs.EPOCH_BYTES = scenario.segment_bytes  # type: ignore[misc]
    layout.RESERVE_BYTES = 8192  # type: ignore[misc]
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
        tools=[tool if scenario.url else PerItem(tool)],
        data_dir=str(scenario.data),
        journal=scenario.journal,
        limits=Limits(append_timeout_s=APPEND_S),
    )
    runtime = Runtime(config)
    if not scenario.url:
        runtime.transport = lambda: Inside(scenario)
    if isinstance(runtime.journal, FileJournal):
        runtime.journal._keeping = replace(runtime.journal._keeping, retain_s=scenario.retain_s)
    broken.breakage(scenario.broken).after(runtime)
    return runtime


def names(runtime: Runtime, record: bytes) -> list[str]:
    """Return the names in a record, in order.

    Raises:
        ValueError: one of its events is not as it was sent.
    """
    found = [who(event.properties) for event in runtime.engine.events(record) if isinstance(event, Event)]
    if not all(sound for _, sound in found):
        raise ValueError("an event in the log is not as it was sent")
    return [name for name, _ in found]


def work(scenario: Scenario, runtime: Runtime) -> None:
    """Have all clients append what the scenario says.

    Raises:
        Exception: a client failed by something else than a journal that cannot write now.
    """
    with ThreadPoolExecutor(scenario.clients) as pool:
        for done in [pool.submit(_client, scenario, runtime, number) for number in range(scenario.clients)]:
            done.result()


def _client(scenario: Scenario, runtime: Runtime, number: int) -> None:
    client = f"{scenario.life}-{number}"
    for request in range(scenario.requests):
        first = request * scenario.events
        whose = [f"{client}.{first + n}" for n in range(scenario.events)]
        accepted = runtime.accept(body(whose, scenario.size), _VISIT)
        marks.leave("sent", whose)
        try:
            kept = runtime.journal.append(
                records.encode(accepted.record),
                events=scenario.events,
                recorded_ms=accepted.record.recorded_ms,
                stamp=runtime.clock.stamp_ns(),
            )
            kept.result(APPEND_S)
        except (JournalDown, JournalFull, TimeoutError):
            continue  # a 503: nobody knows
        marks.leave("acked", whose)
