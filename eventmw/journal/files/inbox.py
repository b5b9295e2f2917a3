"""What other processes ask of the leader: files that are renamed in, and answers beside them.

Layer: input and output.
Source: JOURNAL.md «Files in ``data_dir``», `inbox`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from eventmw.errors import JournalDown
from eventmw.journal.files import disk
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.locks import is_free

log = logging.getLogger("eventmw.journal")

WAIT_S: Final = 10.0
_POLL_S: Final = 0.02
_STALE_S: Final = 600.0
_ERRORS: Final[dict[str, Callable[[str], Exception]]] = {"lookup": LookupError, "value": ValueError}


class NobodyLeads(Exception):  # noqa: N818 - says what it is
    """Whoever led is gone, and nothing was done of what was asked; whoever asks may do it."""


class Command(msgspec.Struct, frozen=True):
    """One thing that is asked: the name of an operation and its arguments."""

    op: str
    args: dict[str, Any]


class Answer(msgspec.Struct, frozen=True):
    """What came of it, or why nothing did."""

    result: Any = None
    error: str = ""
    message: str = ""


class Inbox:
    """The commands of one data directory."""

    def __init__(self, places: Layout) -> None:
        self._folder = places.inbox
        self._leader = places.leader

    def ask(self, command: Command, obey_if_nobody_leads: Callable[[], bool], wait_s: float = WAIT_S) -> Any:
        """Ask the leader, and return its answer.

        Args:
            command: what is asked.
            obey_if_nobody_leads: whether the leader is gone; it carries out then what that one had taken on.
            wait_s: how long to wait.

        Raises:
            LookupError, ValueError: as the operation does.
            NobodyLeads: the leader is gone and had not taken it on; the command is taken back.
            JournalDown: nobody answered. The message says whether it may still be carried out.
        """
        ident = f"{time.time_ns():020}-{os.urandom(4).hex()}"
        asked, answered = self._folder / f"{ident}.cmd", self._folder / f"{ident}.done"
        disk.put(asked, msgspec.json.encode(command))
        deadline = time.monotonic() + wait_s
        while (data := disk.read(answered)) is None:
            if time.monotonic() > deadline:
                return self._take_back(asked, answered)
            if is_free(self._leader) and _removed(asked):
                raise NobodyLeads
            if not obey_if_nobody_leads():
                time.sleep(_POLL_S)
        return self._told(answered, data)

    def waiting(self) -> Iterator[tuple[str, Command]]:
        """Return what is asked, oldest first, each with its id. From here on whoever asked cannot take it back.

        What an earlier leader took on and did not answer comes again.
        """
        for path in sorted(self._folder.iterdir()):
            if path.suffix in {".cmd", ".run"}:
                try:
                    taken = path.rename(path.with_suffix(".run"))
                    command = msgspec.json.decode(taken.read_bytes(), type=Command)
                except FileNotFoundError:
                    continue
                except msgspec.DecodeError:
                    path.with_suffix(".run").unlink(missing_ok=True)
                    continue
                yield path.stem, command
            elif disk.age_s(path) > _STALE_S:
                path.unlink(missing_ok=True)

    def answer(self, ident: str, answer: Answer) -> None:
        """Answer a command. It is done with, also when no answer can be written: whoever asked hears that none came."""
        try:
            disk.put(self._folder / f"{ident}.done", msgspec.json.encode(answer))
        except OSError as error:
            log.warning("the answer to a command could not be written: %s", error.strerror or error)
        (self._folder / f"{ident}.run").unlink(missing_ok=True)

    def _take_back(self, asked: Path, answered: Path) -> Any:
        if _removed(asked):
            raise JournalDown("the process that delivers did not answer; nothing was changed")
        if (data := disk.read(answered)) is not None:
            return self._told(answered, data)
        raise JournalDown("the process that delivers did not answer in time; it may still do what was asked")

    def _told(self, answered: Path, data: bytes) -> Any:
        answered.unlink(missing_ok=True)
        answer = msgspec.json.decode(data, type=Answer)
        if answer.error:
            raise _ERRORS.get(answer.error, JournalDown)(answer.message)
        return answer.result


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
