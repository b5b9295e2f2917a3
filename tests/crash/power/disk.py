"""A disk during one run: what is written, what is durable, and what hangs between.

Files and folders are nodes with numbers; folders hold names. Each node keeps what is durable and, in order, the changes
since. A change to a folder is a set of names that change together, so a rename is one; a rename between folders is two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Patch:
    """A change of a file's content: ``data`` at ``offset``, or a new size (``data`` None).

    ``grows`` is for an allocation: the size never shrinks. ``lost`` means that a sync of it has failed.
    """

    at: int
    offset: int
    data: bytes | None
    grows: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Entries:
    """A change of a folder: names, each with the node it stands for from now on, or None."""

    at: int
    names: Mapping[str, int | None]
    lost: bool = False


@dataclass(slots=True)
class File:
    """A file. ``durable`` None: nothing of it was ever synced, so it is empty."""

    durable: bytes = b""
    pending: list[Patch] = field(default_factory=list)
    version: int = 0


@dataclass(slots=True)
class Folder:
    """A folder. ``live`` is what programs see."""

    durable: dict[str, int] = field(default_factory=dict)
    pending: list[Entries] = field(default_factory=list)
    live: dict[str, int] = field(default_factory=dict)
    version: int = 0


Node = File | Folder
ROOT = 0


class Disk:
    """The disk below one folder, which is durable and empty at first."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {ROOT: Folder()}

    def folder(self, number: int) -> Folder:
        """Return a node that is a folder."""
        node = self.nodes[number]
        assert isinstance(node, Folder)
        return node

    def file(self, number: int) -> File:
        """Return a node that is a file."""
        node = self.nodes[number]
        assert isinstance(node, File)
        return node

    def find(self, path: PurePosixPath) -> int | None:
        """Return the node at a relative path, as programs see it."""
        number = ROOT
        for part in path.parts:
            node = self.nodes[number]
            if not isinstance(node, Folder) or part not in node.live:
                return None
            number = node.live[part]
        return number

    def make(self, at: int, path: PurePosixPath, node: Node) -> int:
        """Put a new node in its folder."""
        number = len(self.nodes)
        self.nodes[number] = node
        self.change(at, self._parent(path), {path.name: number})
        return number

    def remove(self, at: int, path: PurePosixPath) -> None:
        """Take a name away."""
        self.change(at, self._parent(path), {path.name: None})

    def rename(self, at: int, old: PurePosixPath, new: PurePosixPath) -> None:
        """Give a node another name."""
        source, target, number = self._parent(old), self._parent(new), self.find(old)
        assert number is not None, f"{old} is not there"
        if source == target:
            self.change(at, source, {old.name: None, new.name: number})
        else:
            self.change(at, target, {new.name: number})
            self.change(at, source, {old.name: None})

    def link(self, at: int, old: PurePosixPath, new: PurePosixPath) -> None:
        """Give a node one more name."""
        number = self.find(old)
        assert number is not None, f"{old} is not there"
        self.change(at, self._parent(new), {new.name: number})

    def change(self, at: int, folder: int, names: Mapping[str, int | None]) -> None:
        """Change a folder, not durably."""
        node = self.folder(folder)
        change = Entries(at, names)
        node.pending.append(change)
        node.version += 1
        _enter(node.live, change)

    def patch(self, number: int, patch: Patch) -> None:
        """Change a file, not durably."""
        node = self.file(number)
        node.pending.append(patch)
        node.version += 1

    def sync(self, number: int, began: int, *, failed: bool = False) -> None:
        """Have a sync come back that began at `began`: what was done before is durable, or never will be."""
        node = self.nodes[number]
        node.version += 1
        if isinstance(node, Folder):
            _sync_folder(node, began, failed=failed)
        else:
            _sync_file(node, began, failed=failed)

    def _parent(self, path: PurePosixPath) -> int:
        number = self.find(path.parent)
        assert number is not None, f"the folder of {path} is not there"
        return number


def _sync_folder(node: Folder, began: int, *, failed: bool) -> None:
    if failed:
        node.pending = [Entries(c.at, c.names, lost=True) if c.at < began else c for c in node.pending]
        return
    for change in node.pending:
        if change.at < began and not change.lost:
            _enter(node.durable, change)
    node.pending = [change for change in node.pending if change.at >= began]


def _sync_file(node: File, began: int, *, failed: bool) -> None:
    if failed:
        node.pending = [
            Patch(p.at, p.offset, p.data, p.grows, lost=True) if p.at < began and p.data is not None else p
            for p in node.pending
        ]
        return
    synced = [patch for patch in node.pending if patch.at < began]
    node.durable = content(node.durable, (patch for patch in synced if not patch.lost))
    node.pending = [patch for patch in node.pending if patch.at >= began]


def _enter(entries: dict[str, int], change: Entries) -> None:
    for name, number in change.names.items():
        if number is None:
            entries.pop(name, None)
        else:
            entries[name] = number


def names(durable: Mapping[str, int], changes: Iterable[Entries]) -> dict[str, int]:
    """Return a folder's names after some of its changes."""
    entries = dict(durable)
    for change in changes:
        _enter(entries, change)
    return entries


def content(durable: bytes, patches: Iterable[Patch]) -> bytes:
    """Return a file's content after some of its changes. A hole is zeros."""
    changes = list(patches)
    if not changes:
        return durable
    out = bytearray(durable)
    for patch in changes:
        end = patch.offset + len(patch.data or b"")
        if patch.data is None and not patch.grows:
            del out[end:]
        out.extend(bytes(max(0, end - len(out))))
        if patch.data:
            out[patch.offset : end] = patch.data
    return bytes(out)
