"""A configuration put together: its dialects and its engine, without a journal, a door or a courier.

Layer: assembly, pure. The runtime adds all the rest; what only judges (``eventmw check``, a `Tracker` beside no site) needs
no more than this, and so touches no disk.
"""

from __future__ import annotations

from collections.abc import Callable

from eventmw.config import Config
from eventmw.engine import Engine
from eventmw.protocols import eventbunker
from eventmw.protocols.zaraz import Judge, Options, Zaraz


def assembled(config: Config, on_trouble: Callable[[str, str], None] | None = None) -> tuple[Zaraz, Engine]:
    """Return the dialect of a configuration, and the engine with its tools, which tells `on_trouble` what goes wrong.

    Tracked events are read with every configuration: they wait in the journal longer than a setting may last, and commands
    that look into it know of none.
    """
    limits = config.limits
    judge = Judge(max_events=limits.max_events, max_depth=limits.max_depth, strict=config.strict)
    zaraz = Zaraz(judge, Options(config.batch, config.receipt, config.envelope))
    return zaraz, Engine(config.bound_tools, [zaraz, eventbunker.Reader()], on_trouble)
