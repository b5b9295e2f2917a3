"""``eventmw demo``: three real sites, a local vendor, good and bad events, and what became of each.

Layer: command line. What needs the demo's packages is imported when the command runs.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from types import FrameType
from typing import Final, NoReturn

import click

_PACKAGES: Final = ("django", "fastapi", "flask", "gunicorn", "sqlalchemy", "ua_parser", "uvicorn")


@click.command()
@click.option("--serve", is_flag=True, help="Stay up afterwards, to be tried with curl; Ctrl-C ends it.")
def demo(*, serve: bool) -> None:
    """Show it all: three sites, a vendor, good and bad events.

    Starts real Flask, Django and FastAPI sites under real servers and a local vendor, all on 127.0.0.1, sends good and bad
    events to each site, and shows what became of every one. Then it kills the workers of a site under load, and shows that
    nothing acknowledged was lost. It takes some seconds and ends by itself.

    Exit status: 0 when everything that was promised happened, 1 when something did not, 2 when packages are missing.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        needs = f"The demo needs {', '.join(missing)}, which are in eventmw's extra 'demo'."
        click.echo(f"{needs} Install them with: pip install {' '.join(missing)}", err=True)
        sys.exit(2)
    with _ended_by_signals():
        sys.exit(_perform(serve=serve))


def _perform(*, serve: bool) -> int:
    from eventmw.demo import kill, ordeal, play, table, verdict  # noqa: PLC0415 - they need the demo's packages
    from eventmw.demo.servers import NotStarted  # noqa: PLC0415 - as above
    from eventmw.demo.story import story  # noqa: PLC0415 - as above

    console, sites = table.screen(), [site.title for site in play.SITES]
    table.introduce(console, play.SITES)
    with ExitStack() as stack:
        try:
            with table.progress(console, 1 + play.TURNS + kill.TURNS) as tell:
                tell("starting the vendor, and each site with and without eventmw")
                stage = stack.enter_context(play.on_stage())
                visits = play.play(stage, story(), tell)
                endured = kill.ordeal(stage, tell)
        except NotStarted as error:
            click.echo(str(error), err=True)
            return 1
        rows = verdict.rows(story(), visits)
        facts = ordeal.facts(endured)
        troubles = [*verdict.troubles(rows, sites), *ordeal.troubles(endured)]
        table.show(console, rows, sites)
        table.show_ordeal(console, endured.again, facts)
        promises = len(rows) * len(sites) + len(facts)
        table.conclude(console, verdict.total(story(), visits), promises, troubles)
        if serve:
            with suppress(KeyboardInterrupt):
                table.serve(console, stage)
    return 1 if troubles else 0


@contextmanager
def _ended_by_signals() -> Generator[None]:
    """Have SIGTERM and SIGHUP end the block as an error would, so that every server is stopped; nohup's wish counts."""
    heeded = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _end) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
