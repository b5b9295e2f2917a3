"""Another process that knows keys: says on each line of its input what it finds, and forks when it is told to."""

from __future__ import annotations

import os
import sys

from eventmw.archive.database import engine_of
from eventmw.keys.ring import KeyRing


def serve(ring: KeyRing) -> None:
    for line in iter(sys.stdin.readline, ""):
        if line == "fork\n":
            child = os.fork()
            if child:
                os.waitpid(child, 0)
                return
            continue
        found = ring.find(line.rstrip("\n"))
        print("-" if found is None else found.id, flush=True)


if __name__ == "__main__":
    serve(KeyRing(engine_of(sys.argv[1])))
