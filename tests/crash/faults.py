"""L4: system calls fail. An acknowledgement must still be true, and the next life must take up everything and write again."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from tests.crash import marks, strace
from tests.crash.audit import audit
from tests.crash.exact import Yard
from tests.crash.subject import NOT_DRAINED, NOT_STARTED
from tests.crash.tally import Tally

ERRORS = ("EIO", "ENOSPC")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: the `when`-th call of a thread fails, or all from there on (``3+``)."""

    seed: int
    call: str
    when: str
    error: str


def faults(yard: Yard, seed: int) -> list[Fault]:
    """Return every fault of a scenario, as one run of it shows its calls."""
    calls = yard.calls(seed, "work", strace.FAULTED_AT)
    return [
        Fault(seed, call, f"{when}{more}", error)
        for call in calls
        for when in range(1, calls[call] + 1)
        for more in ("", "+")
        for error in ERRORS
    ]


def carry_out(yard: Yard, fault: Fault, tally: Tally) -> None:
    """Work with the fault, then work and deliver without it, and audit both together."""
    for_good = fault.when.endswith("+")  # then nothing can be delivered to the end, and it is not waited for
    scenario = replace(yard.fresh(fault.seed), closes=not for_good)
    failing = strace.failing(fault.call, fault.when, fault.error)
    first = yard.nursery.live(scenario, failing, timeout_s=60.0)
    then = yard.nursery.live(replace(scenario.then("work"), closes=True))
    arrivals = yard.sink.arrivals(Path(scenario.folder).name)
    how = f"{fault} in {scenario.folder}"
    if first.hung or first.status not in {0, NOT_DRAINED, NOT_STARTED} or then.hung or then.status != 0:
        tally.hang(f"{how}: {first}, {then}")
        return
    fates = marks.fates(scenario.marks)
    found = audit(
        fates,
        arrivals,
        buried=marks.named(scenario.marks, "buried"),
        breaks=[arrival.at for arrival in arrivals],  # what a place that could not be written doubles is in order
        ordered=False,
    )
    tally.add(found, how, recovery_s=then.seconds)
    refused = [name for name, fate in fates.items() if name.startswith("1-") and fate != "acked"]
    if refused:
        tally.fail(f"the life after the fault could not write {refused[:3]}: {how}")
    if found.sound and not refused:
        shutil.rmtree(scenario.folder)
