"""The command line: ``python -m benchmarks passthrough``, ``python -m benchmarks all --json results.json``.

``python -m benchmarks crash`` is the crash campaign; see `benchmarks.crash`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from benchmarks.machine import describe
from benchmarks.report import Effort, Report

NAMES: Final = (
    "passthrough", "judging", "footprint", "durable", "serving", "neighbour", "outage", "depth", "saturation",
    "keys", "track", "query", "archive", "questions",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run benchmarks and print them; 1 when a figure is missed or could not be measured, else 0."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["crash"]:  # no benchmark, and its options are others
        return int(importlib.import_module("benchmarks.crash").main(given[1:]))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=(*NAMES, "all"))
    parser.add_argument("--rounds", type=int, help="interleaved rounds, at least 3; each benchmark has its own default")
    parser.add_argument(
        "--quick", action="store_true", help="a short run that shows that it works; its figures mean little"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    chosen = parser.parse_args(given)
    machine = describe()
    print("\n".join(f"{key}: {value}" for key, value in machine.items()), flush=True)
    reports: list[Report] = []
    for name in NAMES if chosen.name == "all" else (chosen.name,):
        report: Report = importlib.import_module(f"benchmarks.{name}").run(Effort(chosen.rounds, quick=chosen.quick))
        print(f"\n{report.as_text()}", flush=True)
        reports.append(report)
    if chosen.json is not None:
        written = {"machine": machine, "quick": chosen.quick, "reports": [report.as_json() for report in reports]}
        chosen.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return 0 if all(figure.reached for report in reports for figure in report.figures) else 1


def _end(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)  # its servers end with it
    sys.exit(main())
