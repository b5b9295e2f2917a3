"""Another process with keys: says on each line of its input what it finds, or does what the line says."""

from __future__ import annotations

import os
import sys

from sqlalchemy import Engine

from eventmw.archive.database import engine_of
from eventmw.keys import ring as rings
from eventmw.keys.grants import Grant
from eventmw.keys.ring import KeyRing
from eventmw.keys.schema import prepare
from eventmw.keys.store import KeyStore, TooManyProjects


def serve(engine: Engine, ring: KeyRing) -> None:
    for line in iter(sys.stdin.readline, ""):
        match line.split():
            case ["fork"]:
                if child := os.fork():
                    os.waitpid(child, 0)
                    return
            case ["ready"]:
                said("ready")
            case ["prepare"]:
                prepare(engine)
                said("prepared")
            case ["keys", project, count]:
                for _ in range(int(count)):
                    KeyStore(engine).create_key(project, Grant(kind="write"))
                said("made")
            case ["project", account]:
                said(new_project(KeyStore(engine), account))
            case _:
                found = ring.find(line.rstrip("\n"))
                said("-" if found is None else found.id)


def new_project(store: KeyStore, account: str) -> str:
    try:
        store.create_project(account, "the last")
    except TooManyProjects:
        return "refused"
    return "made"


def said(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    setattr(rings, "FIRST_S", 30.0)  # noqa: B010 - a constant, and a busy machine
    database = engine_of(sys.argv[1])
    serve(database, KeyRing(database))
