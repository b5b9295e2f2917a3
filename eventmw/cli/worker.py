"""``eventmw worker``: deliver without a site in the process.

Layer: people.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final

import click

from eventmw.archive import ARCHIVE
from eventmw.cli import found, output
from eventmw.cli.output import count, pairs
from eventmw.clock import SystemClock
from eventmw.delivery.courier import Courier
from eventmw.errors import ConfigError, JournalDown
from eventmw.journal import Journal

GRACE_S: Final = 10.0
PROGRESS_S: Final = 10.0

_MEMORY: Final = """\
There is nothing that a worker could deliver: with journal="memory" the events are inside the site's own process, and no \
other process can see them.
There is nothing to do instead: with courier="thread", the default, the site delivers by itself in the background. \
`eventmw stats` shows it."""


@click.command(short_help="Deliver without a site.")
@click.argument("source", metavar=found.METAVAR, required=False)
@click.option(
    "--grace",
    "grace_s",
    metavar="SECONDS",
    default=GRACE_S,
    show_default=True,
    help="How long to wait for what is under way.",
)
def worker(source: str | None, grace_s: float) -> None:
    """Deliver what sites have accepted, in a process of its own.

    CONFIG.toml is the file that the sites are configured with; without an argument it is eventmw.toml in this folder. Of a
    site that is configured in Python, name the object instead, as its server does: MODULE:APP, such as shop.main:app. The
    module is imported, and its requests are left to the server. Either way, give the sites courier="off".

    Of several workers one delivers, and another takes over within about a second when it ends, whatever ends it. SIGTERM
    and Ctrl-C end a worker: it sends nothing new, waits for what is under way, and notes how far it came.

    Ends with 1 when something was still under way after the grace: it goes out again.
    """
    try:
        runtime = found.runtime(found.source_or_default(source))
    except (ConfigError, JournalDown) as error:
        output.fail(str(error))
    if runtime.config.journal == "memory":
        output.fail(_MEMORY, code=2)
    runtime.polite = False
    runtime.show()
    tools = [tool.id for tool in runtime.engine.tools] + ([ARCHIVE] if runtime.archive else [])
    drained = deliver(runtime.journal, runtime.courier, tools, grace_s=grace_s)
    runtime.close(0.0)
    sys.exit(0 if drained else 1)


def deliver(
    journal: Journal,
    courier: Courier,
    tools: Sequence[str],
    *,
    grace_s: float = GRACE_S,
    progress_s: float = PROGRESS_S,
) -> bool:
    """Deliver what a journal holds, in this thread, until SIGTERM or SIGINT. Call it in the main thread.

    Args:
        journal: where records come from.
        courier: what delivers.
        tools: the ids of the tools that it delivers to.
        grace_s: seconds to wait for what is in flight when it is to end.
        progress_s: seconds between lines that tell how far it is.

    Returns whether everything in flight came back.
    """
    stopping = threading.Event()
    before = [(number, signal.signal(number, _setting(stopping))) for number in (signal.SIGTERM, signal.SIGINT)]
    telling = threading.Thread(target=_tell, args=(journal, stopping, progress_s, grace_s), daemon=True)
    output.say(f"Delivering to {', '.join(tools) or 'no tool'}. Ctrl-C ends it.")
    telling.start()
    try:
        drained = courier.run(stopping, grace_s=grace_s)
    finally:
        stopping.set()
        for number, handler in before:
            signal.signal(number, handler)
    telling.join()
    _say_progress(journal)
    output.say(
        "Stopped; " + ("nothing is under way." if drained else "what was under way goes out again at the next start.")
    )
    return drained


def _setting(stopping: threading.Event) -> Callable[[int, FrameType | None], None]:
    return lambda _number, _frame: stopping.set()


def _tell(journal: Journal, stopping: threading.Event, every_s: float, grace_s: float) -> None:
    while not stopping.wait(every_s):
        _say_progress(journal)
    output.say(f"Stopping; what is under way has {grace_s:g} s.")


def _say_progress(journal: Journal) -> None:
    try:
        stats = journal.stats()
    except (OSError, JournalDown) as error:
        output.say(f"The journal cannot be read now: {error}. It is tried again.", output.WARNING, error=True)
        return
    if stats.leader_pid not in {None, os.getpid()}:
        output.say(f"{_now()}  waiting: process {stats.leader_pid} delivers")
        return
    for tool in stats.tools:
        outcomes: dict[str, int] = {}
        for (kind, _reason), number in tool.counts.items():
            outcomes[kind] = outcomes.get(kind, 0) + number
        output.say(
            f"{_now()}  {tool.tool}: {count(tool.backlog_events, 'event')} to go, "
            f"{tool.parked:,} parked, {tool.dead:,} dead; so far {pairs(outcomes) or 'none'}"
        )


def _now() -> str:
    return output.clock_time(SystemClock().now_ms())
