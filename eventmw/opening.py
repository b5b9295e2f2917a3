"""What a runtime works with, opened as its configuration says: each with its imports, which other sites do without.

Layer: input and output.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from eventmw.clock import Clock
from eventmw.config import Config
from eventmw.delivery.transport import Transport
from eventmw.erasure import rewrite
from eventmw.forks import HeldOff
from eventmw.journal import Journal
from eventmw.journal.memory import MemoryJournal
from eventmw.protocols.eventbunker import agents

if TYPE_CHECKING:
    from eventmw.eventbunker.stores import Stores
    from eventmw.protocols.eventbunker import Names
    from eventmw.tracking import Projects


class ProjectsHost(Protocol):
    """Who judges events for projects: asked at each of them, as tests replace its parts."""

    clock: Clock
    names: Names


def journal(config: Config) -> Journal:
    """Open the journal.

    Raises:
        ConfigError: its folder cannot be used.
    """
    if config.journal == "memory":
        return MemoryJournal(cap_bytes=config.journal_bytes, rewrite=rewrite)
    from eventmw.journal.files import FileJournal  # noqa: PLC0415 - a memory journal needs none of it

    site = config.path or config.eventbunker_path or ""
    return FileJournal(config.data_dir, cap_bytes=config.journal_bytes, site=site, rewrite=rewrite)


def stores(config: Config) -> Stores | None:
    """Return the databases behind the EventBunker API; None without `eventbunker_path`.

    Raises:
        ConfigError: an address is none, or a newer eventmw wrote what is there.
    """
    if config.eventbunker_path is None:
        return None
    from eventmw.eventbunker.stores import Stores  # noqa: PLC0415 - no other site has its libraries

    return Stores.of(config)


def projects(config: Config, stores: Stores | None, host: ProjectsHost) -> Projects | None:
    """Return what judges the events that the site's own code tracks into a project; None without `eventbunker_path`."""
    if stores is None:
        return None
    from eventmw.eventbunker.own import OwnTracking  # noqa: PLC0415 - as above

    return OwnTracking(config, stores, lambda: host.clock, lambda: host.names)


def import_ahead() -> None:
    """Import what delivers, before its thread starts: what that thread has to do has a time limit when a process ends.

    Where threads are greenlets, a site does this when it is made: during an import no other greenlet runs.
    """
    with HeldOff():
        for module in ("control.operations", "control.server", "delivery.courier", "delivery.outbound"):
            import_module(f"eventmw.{module}")


def transport(*, reads_agents: bool) -> Transport:
    """Return the courier's way out."""
    with HeldOff():  # the courier's thread imports this, while a server may fork
        from eventmw.delivery.outbound import Outbound  # noqa: PLC0415 - aiohttp is not needed before the first event

        if reads_agents:
            agents.parser()
    return Outbound()
