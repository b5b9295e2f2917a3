"""What a benchmark hands back: its control, what was inside the measured region, tables, and figures asked and measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

MIN_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to measure. ``rounds`` None means the benchmark's own number."""

    rounds: int | None = None
    quick: bool = False

    def interleaved(self, usual: int) -> int:
        """Return how many rounds to run, never fewer than three."""
        if self.rounds is not None:
            return max(MIN_ROUNDS, self.rounds)
        return MIN_ROUNDS if self.quick else usual

    def of(self, usual: float, *, quick: float) -> float:
        """Return one of two sizes."""
        return quick if self.quick else usual


@dataclass(frozen=True, slots=True)
class Spread:
    """Minimum, median and maximum over the rounds."""

    low: float
    mid: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Return the spread of at least one value."""
        known = sorted(values)
        return cls(known[0], statistics.median(known), known[-1])

    def __str__(self) -> str:
        return f"{shown(self.low)} / {shown(self.mid)} / {shown(self.high)}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure asked for beside the one measured.

    Attributes:
        what: the quantity.
        bound: whether `asked` is a ceiling or a floor.
        asked: the figure to reach.
        unit: ``x`` for ratios.
        spread: over the rounds; None when it could not be measured.
        by: which of the spread decides. Ratios inside a round go by their median; absolute times by their minimum, the
            machine's fast state, since the host's speed drifts.
        aim: what would be better still.
    """

    what: str
    bound: Literal["at most", "at least"]
    asked: float
    unit: str
    spread: Spread | None
    by: Literal["low", "mid"] = "mid"
    aim: float | None = None

    @property
    def measured(self) -> float | None:
        """The value that decides."""
        if self.spread is None:
            return None
        return self.spread.low if self.by == "low" else self.spread.mid

    @property
    def reached(self) -> bool:
        """Whether it was measured and is on the right side."""
        value = self.measured
        if value is None:
            return False
        return value <= self.asked if self.bound == "at most" else value >= self.asked

    @property
    def verdict(self) -> str:
        """``ok``, ``missed`` or ``not measured``."""
        return "not measured" if self.spread is None else "ok" if self.reached else "missed"

    def row(self) -> Sequence[str]:
        """Return the line that people read."""
        asked = f"{self.bound} {shown(self.asked)} {self.unit}"
        if self.aim is not None:
            asked += f" (aim {shown(self.aim)})"
        if self.spread is None:
            return (self.what, asked, "-", "-", self.verdict)
        assert self.measured is not None
        return (self.what, asked, f"{shown(self.measured)} {self.unit}", str(self.spread), self.verdict)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under a heading each; all are texts."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def as_text(self) -> str:
        """Return it aligned: the first column to the left, the others to the right."""
        lines = [self.heads, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.heads))]
        return "\n".join([self.title, *(f"  {_aligned(line, widths)}" for line in lines)])


@dataclass(frozen=True, slots=True)
class Report:
    """What one benchmark found."""

    name: str
    control: str
    measured: str
    rounds: int
    tables: Sequence[Table]
    figures: Sequence[Figure]
    notes: Sequence[str] = field(default=())

    def as_text(self) -> str:
        """Return it for people."""
        figures = Table(
            "figures", ("figure", "asked", "measured", "min / median / max", "verdict"), [f.row() for f in self.figures]
        )
        parts = [
            f"== {self.name}",
            f"control: {self.control}",
            f"inside the measured region: {self.measured}",
            f"interleaved rounds: {self.rounds}",
            *(f"\n{table.as_text()}" for table in (*self.tables, figures)),
            *(f"note: {note}" for note in self.notes),
        ]
        return "\n".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return asdict(self) | {
            "figures": [asdict(f) | {"measured": f.measured, "verdict": f.verdict} for f in self.figures],
        }


def shown(value: float) -> str:
    """Return three significant digits, without an exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(width) if not at else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    return "  ".join((first, *rest)).rstrip()
