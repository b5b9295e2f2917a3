"""A recording carried out on a `Disk`, call by call, with the marks that were left meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from tests.crash import marks
from tests.crash.power.disk import Disk, File, Folder, Patch
from tests.crash.power.recording import Call

_AT_FDCWD = "AT_FDCWD"
_WRITES = {"write", "writev"}
_WRITES_AT = {"pwrite64", "pwritev", "pwritev2"}
_SYNCS = {"fsync", "fdatasync"}
_NO_MODEL = {"truncate", "copy_file_range", "sendfile", "creat"}


@dataclass(slots=True)
class _Open:
    """An open file: what it stands for, where it stands, and whether it writes at the end. ``node`` None: not ours."""

    node: int | None
    path: PurePosixPath | None
    appends: bool = False
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """The disk after one call that changed it, and what had been said by then.

    ``acked``: events whose acknowledgement had begun; ``got``: events that the vendor had for sure.
    """

    at: int
    call: str
    acked: frozenset[str]
    got: frozenset[str]


class Replay:
    """Carries out calls below one folder. `moments` is a generator: the disk stands where the last moment is."""

    def __init__(self, root: str, recorded: Iterable[Call], start: Disk | None = None) -> None:
        self.disk = start or Disk()
        self._root = PurePosixPath(root)
        # A descriptor may have a new owner before the call that closed it has come back.
        self._calls = sorted(recorded, key=lambda call: call.began if call.name == "close" else call.ended)
        self._open: dict[int, _Open] = {}
        self._said = [(call, marks.parse(call.data())) for call in self._calls if _is_mark(call)]

    def moments(self) -> Iterator[Moment]:
        """Carry out every call, and stop after each that changed the disk, and after each mark."""
        for call in self._calls:
            if _is_mark(call) or self._carry_out(call):
                yield Moment(call.ended, call.name, self._names("acked", call.ended), self._names("got", call.ended))

    def _names(self, what: str, now: int) -> frozenset[str]:
        """Return what had been marked: an ack counts once it could be seen, an arrival once it was there for sure."""
        return frozenset(
            name
            for call, said in self._said
            if (call.began if what == "acked" else call.ended) <= now
            for word, name in said
            if word == what
        )

    def _carry_out(self, call: Call) -> bool:
        """Carry out one call; returns whether the disk changed."""
        name = call.name
        if call.result is None:
            return False
        if name in _SYNCS:
            return self._sync(call)
        if call.result < 0:
            return False
        if name in _WRITES | _WRITES_AT:
            return self._write(call)
        assert name not in _NO_MODEL, f"no model of {name}({call.arguments[:200]})"
        # Python itself uses openat alone; the C library's allocator asks /proc by a plain open.
        step = self._plain_open if name == "open" else getattr(self, f"_{name}", None)
        return bool(step(call)) if step is not None else False

    def _sync(self, call: Call) -> bool:
        opened = self._open.get(call.numbers()[0])
        if opened is None or opened.node is None:
            return False
        self.disk.sync(opened.node, call.began, failed=call.result != 0)
        return True

    def _write(self, call: Call) -> bool:
        numbers = call.numbers()
        opened = self._open.get(numbers[0])
        if opened is None or opened.node is None:
            return False
        data = call.data()[: call.result]
        size = self._size(opened.node)
        at_its_place = call.name in _WRITES_AT
        offset = numbers[-1] if call.name in {"pwrite64", "pwritev"} else numbers[2] if at_its_place else opened.offset
        offset = size if opened.appends and not at_its_place else offset
        if not at_its_place:
            opened.offset = offset + len(data)
        self.disk.patch(opened.node, Patch(call.ended, offset, data))
        return True

    def _size(self, number: int) -> int:
        file = self.disk.file(number)
        size = len(file.durable)
        for patch in file.pending:
            end = patch.offset + len(patch.data or b"")
            size = end if patch.data is None and not patch.grows else max(size, end)
        return size

    def _plain_open(self, call: Call) -> bool:
        assert call.texts()[0].startswith(b"/"), f"no model of a relative path: open({call.arguments[:200]})"
        return self._openat(call)

    def _openat(self, call: Call) -> bool:
        assert call.result is not None
        path = self._path(call, 0)
        flags = call.arguments.rpartition('"')[2]
        opened = self._open[call.result] = _Open(None, path, appends="O_APPEND" in flags)
        if path is None:
            return False
        opened.node = self.disk.find(path)
        if opened.node is None:
            opened.node = self.disk.make(call.ended, path, File())
            return True
        if "O_TRUNC" in flags:
            self.disk.patch(opened.node, Patch(call.ended, 0, None))
            return True
        return False

    def _close(self, call: Call) -> bool:
        self._open.pop(call.numbers()[0], None)
        return False

    def _dup(self, call: Call) -> bool:
        assert call.result is not None
        if (opened := self._open.get(call.numbers()[0])) is not None:
            self._open[call.result] = opened
        return False

    def _dup2(self, call: Call) -> bool:
        """Note a descriptor; when it is that of the marks, a new life begins, and what the last one had open is closed."""
        if call.result == marks.DESCRIPTOR:
            self._open.clear()
        return self._dup(call)

    _dup3 = _dup2

    def _fcntl(self, call: Call) -> bool:
        return self._dup(call) if "F_DUPFD" in call.arguments else False

    def _lseek(self, call: Call) -> bool:
        assert call.result is not None
        if (opened := self._open.get(call.numbers()[0])) is not None:
            opened.offset = call.result
        return False

    def _ftruncate(self, call: Call) -> bool:
        number, size = call.numbers()
        return self._resize(number, Patch(call.ended, size, None))

    def _fallocate(self, call: Call) -> bool:
        numbers = call.numbers()
        if "FALLOC_FL" in call.arguments:
            assert "KEEP_SIZE" in call.arguments, f"no model of fallocate({call.arguments})"
            return False
        return self._resize(numbers[0], Patch(call.ended, numbers[-2] + numbers[-1], None, grows=True))

    def _resize(self, descriptor: int, patch: Patch) -> bool:
        opened = self._open.get(descriptor)
        if opened is None or opened.node is None:
            return False
        self.disk.patch(opened.node, patch)
        return True

    def _mkdir(self, call: Call) -> bool:
        if (path := self._path(call, 0)) is None:
            return False
        if path == PurePosixPath():
            return False
        self.disk.make(call.ended, path, Folder())
        return True

    _mkdirat = _mkdir

    def _unlink(self, call: Call) -> bool:
        if (path := self._path(call, 0)) is None:
            return False
        self.disk.remove(call.ended, path)
        return True

    _unlinkat = _rmdir = _unlink

    def _rename(self, call: Call) -> bool:
        if (paths := self._both(call)) is not None:
            self.disk.rename(call.ended, *paths)
        return paths is not None

    _renameat = _renameat2 = _rename

    def _link(self, call: Call) -> bool:
        if (paths := self._both(call)) is not None:
            self.disk.link(call.ended, *paths)
        return paths is not None

    _linkat = _link

    def _both(self, call: Call) -> tuple[PurePosixPath, PurePosixPath] | None:
        old, new = self._path(call, 0), self._path(call, 1)
        if old is None and new is None:
            return None
        assert old is not None, "a file came in from outside"
        assert new is not None, "a file went outside"
        return old, new

    def _path(self, call: Call, which: int) -> PurePosixPath | None:
        """Return the `which`-th path of a call, relative to the root; None when it is not below it."""
        path = PurePosixPath(os.fsdecode(call.texts()[which]))
        if not path.is_absolute():
            before = call.arguments.split('"')[2 * which].strip(", ").rpartition(",")[2].strip()
            base = self._open.get(int(before)) if before.lstrip("-").isdigit() else None
            if base is None or base.path is None:
                return None
            path = self._root / base.path / path
        path = PurePosixPath(os.path.normpath(path))
        return path.relative_to(self._root) if path.is_relative_to(self._root) else None


def _is_mark(call: Call) -> bool:
    return call.name == "pwritev2" and call.numbers()[:1] == [marks.DESCRIPTOR]
