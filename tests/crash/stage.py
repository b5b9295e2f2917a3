"""The stage of one round: sink, network, server and driver, each a process of its own; and what is looked at afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.crash.audit import Audit, Fate, audit
from tests.crash.driver import Driver
from tests.crash.left import looked_at
from tests.crash.proxy import Proxy
from tests.crash.served import KINDS, Served
from tests.crash.sink import Sink
from tests.crash.site import IN_FLIGHT
from tests.crash.skewed import set_skew

QUIET_S = 10.0
"""Without an arrival for so long, nothing more will come: a courier looks for the lease each second."""

SLACK_S = 1.0
"""As in `tests.crash.exact`; a loaded machine takes its time."""

VENDOR = "v"
_FEW = 100
"""Dead letters are looked for when so few events are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """How a round is cast.

    Attributes:
        kind: what serves; see `tests.crash.served.KINDS`.
        ordered: whether deliveries keep the order.
        clients, events: of the driver, and in each of its requests.
        bad_network: whether the courier reaches the sink through `tests.crash.proxy`.
        fake_clock: whether the server's wall clock jumps.
        broken, journal: see `tests.crash.scenario`.
    """

    kind: str = "prefork-2"
    seed: int = 0
    ordered: bool = False
    clients: int = 4
    events: int = 1
    bad_network: bool = False
    fake_clock: bool = False
    broken: str = ""
    journal: str = "file"


@dataclass(slots=True)
class Stage:
    """What is on stage. The driver is not started."""

    play: Play
    folder: Path
    data: Path
    sink: Sink
    server: Served
    driver: Driver
    network: Proxy | None

    def has_settled(self, quiet_s: float = QUIET_S) -> bool:
        """Wait until everything that was acknowledged has arrived; False when nothing came for `quiet_s` seconds before."""
        acked = {name for name, fate in self.driver.fates().items() if fate == "acked"}
        came, since = -1, time.monotonic()
        while time.monotonic() - since < quiet_s:
            if (count := self.sink.count(VENDOR)) > came:
                came, since = count, time.monotonic()
            missing = acked - self._answered() if count >= len(acked) else acked
            if not missing or (len(missing) <= _FEW and missing <= self._buried()):
                return True
            self.server.visit()
            time.sleep(0.3)
        self.server.ask_for_stacks()
        return False

    def _buried(self) -> frozenset[str]:
        return looked_at(self.data, only_buried=True).buried if self.play.journal == "file" else frozenset()

    def _answered(self) -> set[str]:
        return {arrival.who for arrival in self.sink.arrivals(VENDOR, keep=True) if arrival.answered}

    def arrived(self) -> int:
        """Return how many events came so far, each as often as it came."""
        return self.sink.count(VENDOR)

    def audited(self, breaks: list[float], also: Mapping[str, Fate] | None = None) -> Audit:
        """Audit the round, once the server has stopped. ``also``: fates of events that the driver did not send."""
        return audit(
            {**self.driver.fates(), **(also or {})},
            self.sink.arrivals(VENDOR),
            breaks=[*breaks, *(self.network.breaks if self.network else ())],
            buried=self._buried(),
            ordered=self.play.ordered,
            in_flight=IN_FLIGHT if breaks and not self.network else None,
            slack_s=SLACK_S,
        )

    @property
    def clock(self) -> Path:
        """The file that says how far the server's clock is off."""
        return self.folder / "clock"

    def set_clock(self, off_s: int) -> None:
        """Have the server's wall clock jump to so many seconds from the real one."""
        set_skew(self.clock, off_s)


@contextmanager
def staged(play: Play, folder: Path, data: Path | None = None) -> Iterator[Stage]:
    """Set the stage, for a ``with`` statement.

    Raises:
        RuntimeError: the server does not start.
    """
    folder.mkdir(parents=True)
    data = data or folder / "data"
    set_skew(folder / "clock", 0)
    with ExitStack() as stack:
        sink = stack.enter_context(Sink(str(folder / "sink.log")))
        network = stack.enter_context(Proxy(sink.port, play.seed)) if play.bad_network else None
        port = network.port if network else sink.port
        environ = {
            "CRASH_SINK": f"http://127.0.0.1:{port}/{VENDOR}",
            "CRASH_DATA": str(data),
            "CRASH_JOURNAL": play.journal,
            "CRASH_ORDERED": str(int(play.ordered)),
            "CRASH_BROKEN": play.broken,
            "CRASH_CLOCK": str(folder / "clock"),
        }
        server = stack.enter_context(Served(KINDS[play.kind], environ, folder / "said"))
        driver = Driver(server.port, folder / "driver.log", clients=play.clients, events=play.events)
        yield Stage(play, folder, data, sink, server, driver, network)
