"""One run of the subject in words: what it appends, how it is served, and how it is broken."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Self

Task = Literal["work", "drain"]
Vendor = Literal["good", "away", "flaky"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What the subject does in one life.

    Attributes:
        seed: names the scenario; all else follows from it (`Scenario.of`).
        task: ``work``: clients append while the courier delivers; ``drain``: deliver what is there, and end.
        folder: the run's own folder: ``data`` in it is the journal's, ``marks`` says what was acknowledged.
        url: the sink's address; "" for a vendor inside the process that leaves a mark for each event.
        vendor: the one inside the process: ``away`` never has anything, ``flaky`` now and then breaks off or refuses.
        journal: ``file``, or ``memory`` for a control that has to lose.
        life: counts the lives on one folder, so that each has names of its own.
        clients, requests, events, size: threads, requests of each, events of a request, characters of an event.
        batch, window, ordered: how the courier delivers.
        segment_bytes: of the journal's segments; small, so that they roll.
        retain_s: how long consumed segments are kept.
        reboots: whether the machine is started anew between two lives, as far as clocks tell.
        closes: end in order at the end of the work; else the process just ends.
        broken: how this build is broken on purpose; see `tests.crash.broken`.
    """

    seed: int
    folder: str
    url: str = ""
    task: Task = "work"
    vendor: Vendor = "good"
    journal: str = "file"
    life: int = 0
    clients: int = 2
    requests: int = 4
    events: int = 1
    size: int = 100
    batch: int = 3
    window: int = 4
    ordered: bool = False
    segment_bytes: int = 16 * 1024
    retain_s: float = 0.0
    reboots: bool = False
    closes: bool = False
    broken: str = ""

    @classmethod
    def of(cls, seed: int, folder: Path, url: str = "", *, broken: str = "", journal: str = "file") -> Self:
        """Return the scenario that belongs to a seed."""
        chance = random.Random(seed)
        return cls(
            seed=seed,
            folder=str(folder),
            url=url,
            clients=chance.choice([1, 2, 3]),
            requests=chance.randint(2, 8),
            events=chance.choice([1, 1, 2, 5]),
            size=chance.choice([20, 200, 1000, 3000]),
            batch=chance.choice([1, 3, 10]),
            window=chance.choice([1, 4]),
            ordered=chance.random() < 0.4,
            segment_bytes=chance.choice([4096, 16 * 1024, 64 * 1024]),
            retain_s=chance.choice([0.0, 0.02, 86_400.0]),
            closes=chance.random() < 0.5,
            reboots=chance.random() < 0.3,
            broken=broken,
            journal=journal,
        )

    @property
    def data(self) -> Path:
        """The journal's folder."""
        return Path(self.folder) / "data"

    @property
    def marks(self) -> Path:
        """The file in which the subject says what it acknowledged."""
        return Path(self.folder) / "marks"

    @property
    def said(self) -> Path:
        """What it wrote to standard error."""
        return Path(self.folder) / "said"

    def then(self, task: Task) -> Self:
        """Return the next life on the same folder."""
        return replace(self, task=task, life=self.life + 1)

    def as_json(self) -> str:
        """Return it on one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `as_json` wrote."""
        return cls(**json.loads(text))
