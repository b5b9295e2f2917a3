"""On which kind of file system a folder lies, and whether a journal is safe there.

A journal on disk stands on two promises of the file system: a lock that one process holds keeps all others out, and what
was synced is there after a power cut. File systems over a network break the one or the other, quietly; those in memory and
those of a container keep nothing past the machine's or the container's end.

Layer: input and output (one look into ``/proc/self/mountinfo``); what is made of its text is pure. Only Linux says it so:
elsewhere the type is unknown, and nothing is warned of. Source: proc_pid_mountinfo(5); open(2) and flock(2) on NFS and SMB.
"""

from __future__ import annotations

import os
import pwd
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

MOUNTS: Final = Path("/proc/self/mountinfo")

NETWORK: Final = frozenset(
    {"9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fakeowner", "gfs", "glusterfs", "gpfs", "lustre"}
    | {"ncpfs", "nfs", "nfs4", "orangefs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs", "wekafs"}
)
"""Types whose files are on another machine, or on the other side of a virtual one."""

NETWORK_FUSE: Final = frozenset(
    {"ceph", "ceph-fuse", "curlftpfs", "davfs", "gcsfuse", "glusterfs", "goofys", "grpcfuse", "gvfsd-fuse", "juicefs"}
    | {"mountpoint-s3", "moosefs", "mfs", "osxfs", "rclone", "s3fs", "seaweedfs", "smbnetfs", "sshfs", "vmhgfs-fuse"}
)
"""The same in user space: what stands after ``fuse.``."""

FLEETING: Final = frozenset({"aufs", "overlay", "ramfs", "tmpfs"})
"""Types whose files end with the container, or with the machine's power."""

STORES: Final = ("archive.sqlite3", "keys.sqlite3", "archive.json", "keys.json")
"""Files of a data directory that a site believes without a checksum."""

_NOT_OWNERS: Final = stat.S_IRWXG | stat.S_IRWXO

_escaped: Final = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """One mounted file system: where, and of which type."""

    point: str
    kind: str


def parsed(mountinfo: bytes) -> list[Mount]:
    """Return the mounts that a ``mountinfo`` names, in its order; lines that are not understood are passed over.

    A line is ``id parent major:minor root POINT options [fields …] - TYPE source options``, divided by single blanks.
    Blanks, tabs, line ends and backslashes inside a field are written as three octal digits.
    """
    found: list[Mount] = []
    for line in mountinfo.split(b"\n"):
        before, dash, after = line.partition(b" - ")
        fields, kind = before.split(b" "), after.split(b" ")[0]
        if dash and len(fields) > 4 and kind:  # noqa: PLR2004 - the mount point is the fifth
            found.append(Mount(os.fsdecode(_decoded(fields[4])), os.fsdecode(_decoded(kind))))
    return found


def _decoded(field: bytes) -> bytes:
    return _escaped.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), field)


def kind_at(path: str, mounts: Iterable[Mount]) -> str:
    """Return the type of the file system on which an absolute path lies; "" when no mount holds it.

    It is that of the longest mount point above the path. Of several mounts on one point, the last lies on top.
    """
    best, kind = -1, ""
    for mount in mounts:
        if _holds(mount.point, path) and len(mount.point) >= best:
            best, kind = len(mount.point), mount.kind
    return kind


def _holds(point: str, path: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")


def kind_of(folder: str | os.PathLike[str]) -> str:
    """Return the type of the file system on which a folder lies, or would once it is made; "" when that is not known."""
    try:
        return kind_at(os.path.realpath(folder), parsed(MOUNTS.read_bytes()))
    except OSError:
        return ""


def warning(folder: str | os.PathLike[str], kind: str) -> str | None:
    """Return one sentence on what may go wrong with a journal there, or None when the type promises enough.

    Args:
        folder: the data directory, for the words alone.
        kind: the type of its file system, as `kind_of` says it.
    """
    name = os.fspath(folder)
    if kind in NETWORK or (kind.startswith("fuse.") and kind.removeprefix("fuse.") in NETWORK_FUSE):
        return (
            f"data_dir {name} is on a network file system ({kind}), where locks and syncs cannot be relied on: events that "
            "were answered for may be lost or sent twice. Put it on a disk of this machine."
        )
    if kind in {"overlay", "aufs"}:
        return (
            f"data_dir {name} is on a container's own layer ({kind}), which goes when the container does, and with it the "
            "events that are not delivered yet. Mount a volume there."
        )
    if kind in FLEETING:
        return (
            f"data_dir {name} is in memory ({kind}): what is kept there ends with the machine's power, and does not survive "
            "a restart. Put it on a disk, or mount a volume there."
        )
    return None


def access_warnings(folder: str | os.PathLike[str]) -> Iterator[str]:
    """Return a sentence for each way in which other users could change, or read, what a data directory holds.

    Root is no other user: nothing is safe from root. Nor is the group that has its owner's number, which is the owner's own.
    """
    root = Path(folder)
    try:
        found, above = root.stat(), root.parent.stat()
    except OSError:
        return  # it is made later, for this user alone
    whole = "can change or exchange events, keys and answers"
    if (owner := _stranger(found)) is not None:
        yield f"data_dir {root} belongs to {owner}, who {whole}. Make it the site's own: chown it, or name another folder."
    if (who := _writers(found)) is not None:
        yield f"data_dir {root} can be written by {who}, who {whole}. Close it: chmod 700 {root}"
    if above.st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
        yield f"data_dir {root} is in a folder that every user can write, and can exchange it. Put it elsewhere."
    for name in STORES:
        yield from _of_file(root / name)


def _of_file(path: Path) -> Iterator[str]:
    try:
        found = path.lstat()
    except OSError:
        return
    if stat.S_ISLNK(found.st_mode):
        yield f"{path} is a symbolic link: whoever can change what it leads to can change what the site reads there."
        return
    if (owner := _stranger(found)) is not None:
        yield f"{path} belongs to {owner}, who can change what the site reads there: chown it to the site's user."
    if stat.S_ISREG(found.st_mode) and found.st_mode & _NOT_OWNERS:
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        yield f"{path} can be read or written by other users (mode {mode}). Close it: chmod 600 {path}"


def _stranger(found: os.stat_result) -> str | None:
    """Return who owns a file, when that is neither this process's user nor root."""
    return None if found.st_uid in {0, os.geteuid()} else user_name(found.st_uid)


def _writers(found: os.stat_result) -> str | None:
    if found.st_mode & stat.S_IWOTH:
        return "every user of the machine"
    is_own = found.st_gid == found.st_uid
    return None if is_own or not found.st_mode & stat.S_IWGRP else f"the group {found.st_gid}"


def user_name(uid: int) -> str:
    """Return what a user is called."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def warnings_for(folder: str | os.PathLike[str]) -> Iterator[str]:
    """Return all that may go wrong with a data directory as it lies now, one sentence each."""
    if (lies := warning_for(folder)) is not None:
        yield lies
    yield from access_warnings(folder)


def warning_for(folder: str | os.PathLike[str]) -> str | None:
    """Return what `warning` says of a folder as it lies now."""
    return warning(folder, kind_of(folder))
