"""What a power cut leaves: of everything that was not durable, a policy says what made it to the disk.

A write that was under way may be there in part: whole sectors of 512 or of 4096 bytes, not always the first ones.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from tests.crash.power.disk import ROOT, SECTOR, Disk, Entries, Folder, Patch, content, names

T = TypeVar("T")
ChooseNames = Callable[[Sequence[Entries]], Sequence[Entries]]
ChooseData = Callable[[Sequence[Patch]], Sequence[Patch]]


@dataclass(frozen=True, slots=True)
class Policy:
    """Which of the pending changes survived: of a folder, of a file."""

    name: str
    entries: ChooseNames
    data: ChooseData


def _all(changes: Sequence[T]) -> Sequence[T]:
    return changes


def _none(_: Sequence[T]) -> Sequence[T]:
    return ()


def _last(changes: Sequence[T]) -> Sequence[T]:
    """Return the last change alone: it overtook the others."""
    return changes[-1:]


def _torn(keep: Callable[[int, int], bool], sector: int) -> ChooseData:
    """Return a choice that keeps all but the last write, and of that the sectors that `keep(index, count)` names."""

    def choose(patches: Sequence[Patch]) -> Sequence[Patch]:
        if not patches or patches[-1].data is None:
            return patches
        return [*patches[:-1], *_sectors(patches[-1], keep, sector)]

    return choose


def _sectors(patch: Patch, keep: Callable[[int, int], bool], sector: int) -> Iterator[Patch]:
    """Return the sectors of one write that survived. The file is as long as if all had: what is missing reads as before."""
    assert patch.data is not None
    end = patch.offset + len(patch.data)
    yield Patch(patch.at, end, None, grows=True)
    starts = range(patch.offset - patch.offset % sector, end, sector)
    for index, start in enumerate(starts):
        if keep(index, len(starts)):
            begin = max(start, patch.offset)
            data = patch.data[begin - patch.offset : start + sector - patch.offset]
            yield Patch(patch.at, begin, data)


def _by_chance(seed: int) -> Policy:
    chance = random.Random(seed)

    def entries(changes: Sequence[Entries]) -> Sequence[Entries]:
        """Mostly a prefix, as journaling file systems keep the order; else any of them."""
        if chance.random() < 0.6:
            return changes[: chance.randint(0, len(changes))]
        return [change for change in changes if chance.random() < 0.5]

    def data(patches: Sequence[Patch]) -> Sequence[Patch]:
        kept: list[Patch] = []
        for patch in patches:
            match chance.choice(["kept", "kept", "lost", "torn"]):
                case "torn" if patch.data is not None:
                    kept += _sectors(patch, lambda *_: chance.random() < 0.5, chance.choice([SECTOR, 8 * SECTOR]))
                case "kept" | "torn":
                    kept.append(patch)
        return kept

    return Policy(f"chance-{seed}", entries, data)


FIXED: Sequence[Policy] = (
    Policy("lost", _none, _none),
    Policy("kept", _all, _all),
    Policy("names without data", _all, _none),
    Policy("data without names", _none, _all),
    Policy("last write only", _all, _last),
    Policy("last name only", _last, _all),
    Policy("torn, first sector", _all, _torn(lambda index, _: index == 0, SECTOR)),
    Policy("torn, all but the first sector", _all, _torn(lambda index, _: index > 0, SECTOR)),
    Policy("torn, first half", _all, _torn(lambda index, count: 2 * index < count, SECTOR)),
    Policy("torn, all but the first page", _all, _torn(lambda index, _: index > 0, 8 * SECTOR)),
    Policy("torn, every other sector", _all, _torn(lambda index, _: index % 2 == 1, SECTOR)),
    Policy("nothing of the last write but its length", _all, _torn(lambda *_: False, SECTOR)),
)


def policies(seed: int, by_chance: int) -> Iterator[Policy]:
    """Return the fixed policies, and some by chance."""
    yield from FIXED
    for n in range(by_chance):
        yield _by_chance(1000 * seed + n)


Image = Mapping[str, bytes | None]
"""A path and its content, or None for a folder. Folders come before what is in them."""


def image(disk: Disk, policy: Policy) -> Image:
    """Return what a policy leaves of a disk."""
    found: dict[str, bytes | None] = {}
    _gather(disk, policy, ROOT, "", found)
    return found


def _gather(disk: Disk, policy: Policy, number: int, path: str, found: dict[str, bytes | None]) -> None:
    node = disk.nodes[number]
    if isinstance(node, Folder):
        if path:
            found[path] = None
        survived = policy.entries([change for change in node.pending if not change.lost])
        for name, child in names(node.durable, survived).items():
            _gather(disk, policy, child, f"{path}/{name}" if path else name, found)
    else:
        found[path] = content(node.durable, policy.data([patch for patch in node.pending if not patch.lost]))


def digest(found: Image) -> bytes:
    """Return what two equal images have in common."""
    said = hashlib.blake2b(digest_size=16)
    for path, data in sorted(found.items()):
        said.update(path.encode() + (b"/" if data is None else b"\0" + _digest(data)))
    return said.digest()


@lru_cache(maxsize=512)
def _digest(data: bytes) -> bytes:
    """Return the digest of a file; most files are those of the last image."""
    return hashlib.blake2b(data, digest_size=16).digest()


def put(found: Image, folder: Path) -> None:
    """Write an image out below a folder that is not there yet."""
    folder.mkdir(mode=0o700)
    for path, data in found.items():
        if data is None:
            (folder / path).mkdir(mode=0o700)
        else:
            (folder / path).write_bytes(data)
