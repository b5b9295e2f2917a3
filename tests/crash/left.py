"""What a journal's folder still holds when nobody serves it: ``python -m tests.crash.left FOLDER`` prints it as JSON.

``owed`` are events that would still be delivered, ``buried`` those among the dead letters.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from eventmw.config import Config
from eventmw.journal.files.graves import read_letters
from eventmw.journal.files.layout import Layout
from eventmw.runtime import Runtime
from eventmw.tools import Webhook
from tests.crash.served import ROOT
from tests.crash.subject import INSIDE, names

FAR_MS = 2**60
TOOL = "webhook"


@dataclass(frozen=True, slots=True)
class Left:
    """What a folder holds: what is owed, and what is buried."""

    owed: frozenset[str]
    buried: frozenset[str]


def left(folder: Path) -> Left:
    """Open a folder as the only one, and look."""
    runtime = Runtime(Config(tools=[Webhook(INSIDE)], data_dir=str(folder), journal="file"))
    journal = runtime.journal
    lease = journal.lead()
    if lease is None:
        raise RuntimeError("somebody else leads this journal")
    owed: set[str] = set()
    while readings := lease.read(TOOL, 1000):
        for reading in readings:
            found = names(runtime, reading.entry.record)
            owed.update(name for ordinal, name in enumerate(found) if ordinal not in reading.settled)
    for parked in lease.due(TOOL, FAR_MS, 10**6):
        owed.update(names(runtime, parked.record))
    buried = {name for letter in journal.dead_letters() for name in names(runtime, letter.record)}
    lease.close()
    journal.close()
    return Left(frozenset(owed), frozenset(buried))


def dead(folder: Path) -> Left:
    """Look at the dead letters alone, while others lead."""
    runtime = Runtime(Config(tools=[Webhook(INSIDE)], journal="memory"))
    letters = read_letters(Layout(folder))
    return Left(frozenset(), frozenset(name for letter in letters for name in names(runtime, letter.record)))


def looked_at(folder: Path, *, only_buried: bool = False) -> Left:
    """Look in another process: the harness keeps nothing of the journal's open."""
    command = [sys.executable, "-m", "tests.crash.left", str(folder), *(["dead"] if only_buried else [])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{folder} cannot be opened: {done.stderr[-2000:]}")
    said = json.loads(done.stdout)
    return Left(frozenset(said["owed"]), frozenset(said["buried"]))


if __name__ == "__main__":
    _found = (dead if sys.argv[2:] == ["dead"] else left)(Path(sys.argv[1]))
    print(json.dumps({"owed": sorted(_found.owed), "buried": sorted(_found.buried)}))
