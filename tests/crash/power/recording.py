"""What strace wrote, as calls in the order in which they came back. Calls of several threads lie between each other.

Source: strace(1), «-f», «-xx» and «EXAMPLES»: a call that another thread's interrupts is written as ``<unfinished ...>``
and later ``<... call resumed>``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_line = re.compile(r"(\d+) +(.*)", re.DOTALL)
_begin = re.compile(r"(\w+)\(")
_resumed = re.compile(r"<\.\.\. (\w+) resumed>")
_returned = re.compile(r"\) *= (-?\d+|\?|0x[0-9a-f]+)(?: .*)?$")
_UNFINISHED = " <unfinished ...>"
_text = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_vector = re.compile(r'iov_base="((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


@dataclass(frozen=True, slots=True)
class Call:
    """One system call that came back. ``began`` and ``ended`` are line numbers: `began` of one after `ended` of another
    means that it saw the other's effect. ``result`` is None when it did not come back."""

    thread: int
    name: str
    arguments: str
    result: int | None
    began: int
    ended: int

    def numbers(self) -> list[int]:
        """Return the arguments that are plain numbers, in order."""
        bare = _text.sub("-", re.sub(r"\[.*?\]", "-", self.arguments))
        return [int(part) for part in re.findall(r"(?:^|, )(-?\d+)(?=,|$|\))", bare)]

    def texts(self) -> list[bytes]:
        """Return the arguments that are strings."""
        return [_decoded(match) for match in _text.finditer(self.arguments)]

    def data(self) -> bytes:
        """Return what is written: one buffer or several."""
        if "iov_base=" in self.arguments:
            return b"".join(_decoded(match) for match in _vector.finditer(self.arguments))
        return self.texts()[0]


def calls(lines: Iterable[str]) -> Iterator[Call]:
    """Return the calls in a recording. One that was under way at the end comes last, without a result."""
    open_calls: dict[int, tuple[int, str]] = {}
    number = 0
    for number, line in enumerate(lines):
        if (match := _line.match(line.rstrip("\n"))) is None:
            continue
        thread, said = int(match[1]), match[2]
        began = number
        if resumed := _resumed.match(said):
            began, head = open_calls.pop(thread)
            said = head + said[resumed.end() :]
        if said.endswith(_UNFINISHED):
            open_calls[thread] = (began, said.removesuffix(_UNFINISHED))
        elif (found := _call(thread, said, began, number)) is not None:
            yield found
    for thread, (began, head) in open_calls.items():
        if (found := _call(thread, head + ") = ?", began, number + 1)) is not None:
            yield found


def _call(thread: int, said: str, began: int, ended: int) -> Call | None:
    begin, returned = _begin.match(said), _returned.search(said)
    if begin is None or returned is None:  # a signal, or the end of a thread
        return None
    result = None if returned[1] == "?" else int(returned[1], 0)
    return Call(thread, begin[1], said[begin.end() : returned.start()], result, began, ended)


def _decoded(match: re.Match[str]) -> bytes:
    if match[2]:
        raise ValueError("the recording is cut: strace needs a larger -s")
    return bytes.fromhex(match[1].replace("\\x", ""))
