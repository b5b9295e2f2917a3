"""Which file system a folder lies on, read from text as the kernel writes it and from this machine's own."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.cli.risks import journal_warnings
from eventmw.journal.files import FileJournal
from eventmw.journal.files.filesystem import (
    FLEETING,
    MOUNTS,
    Mount,
    access_warnings,
    kind_at,
    kind_of,
    parsed,
    warning,
    warning_for,
)

# Source: proc_pid_mountinfo(5), and a container with a volume whose path has a blank.
TEXT = rb"""36 35 98:0 /mnt1 / rw,noatime master:1 - ext3 /dev/root rw,errors=continue
40 36 0:50 / /var/lib\040of\011shops rw,relatime - nfs4 server:/shops rw,vers=4.2
41 36 0:51 / /var rw - xfs /dev/vda2 rw
42 36 0:52 / /mnt/a\134b rw shared:1 propagate_from:2 - fuse.sshfs me@host:/ rw
43 36 0:53 / /top rw - ext4 /dev/vdb rw
44 36 0:54 / /top rw - tmpfs tmpfs rw
not a line of it
45 36 0:55
46 36 0:56 / /cut rw -
"""

# What a path may hold: any bytes but NUL and the slash. The kernel escapes four of them.
names = st.binary(min_size=1, max_size=6).map(lambda raw: raw.replace(b"\0", b" ").replace(b"/", b"\n"))
points = st.lists(names, max_size=4).map(lambda parts: b"/" + b"/".join(parts))
kinds = st.sampled_from([b"ext4", b"nfs4", b"fuse.sshfs", b"overlay"])
optional = st.lists(st.sampled_from([b"master:1", b"shared:2", b"unbindable"]), max_size=3)


def escaped(raw: bytes) -> bytes:
    """Write a field as the kernel does. Source: fs/proc_namespace.c, ``mangle``."""
    return b"".join(b"\\%03o" % byte if byte in b" \t\n\\#" else bytes([byte]) for byte in raw)


def line(point: bytes, kind: bytes, fields: list[bytes]) -> bytes:
    return b" ".join((b"1 2 0:3 /", escaped(point), b"rw", *fields, b"-", kind, b"none rw"))


@given(st.lists(st.tuples(points, kinds, optional)))
def test_what_the_kernel_writes_is_read_back(mounts: list[tuple[bytes, bytes, list[bytes]]]) -> None:
    text = b"".join(line(*mount) + b"\n" for mount in mounts)
    assert parsed(text) == [Mount(os.fsdecode(point), kind.decode()) for point, kind, _ in mounts]


@given(st.binary())
def test_any_text_is_read_without_harm(text: bytes) -> None:
    for mount in parsed(text):
        assert mount.kind


@given(points, st.lists(st.tuples(points, kinds)))
def test_the_longest_mount_point_above_a_path_counts(path: bytes, mounts: list[tuple[bytes, bytes]]) -> None:
    known = [Mount(os.fsdecode(point), kind.decode()) for point, kind in mounts]
    parents = {os.fsdecode(path)} | {str(parent) for parent in Path(os.fsdecode(path)).parents}
    above = [mount for mount in known if mount.point in parents]
    longest = max((len(mount.point) for mount in above), default=0)
    expected = [mount.kind for mount in above if len(mount.point) == longest]
    assert kind_at(os.fsdecode(path), known) == (expected[-1] if expected else "")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext3"),
        ("/srv", "ext3"),
        ("/var", "xfs"),
        ("/variable", "ext3"),
        ("/var/lib of\tshops/data", "nfs4"),
        ("/mnt/a\\b", "fuse.sshfs"),
        ("/top/data", "tmpfs"),
    ],
)
def test_a_text_of_a_machine(path: str, kind: str) -> None:
    assert kind_at(path, parsed(TEXT)) == kind


def test_nothing_is_mounted() -> None:
    assert kind_at("/srv", []) == ""


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "lustre", "fuse.sshfs"])
def test_a_network_is_warned_of(kind: str) -> None:
    words = warning("/srv/data", kind) or ""
    assert words.startswith(f"data_dir /srv/data is on a network file system ({kind})")
    assert words.count(". ") == 1


def test_what_ends_with_the_container_or_the_power_is_warned_of() -> None:
    assert {kind: "Mount a volume" in (warning("/d", kind) or "") for kind in ("overlay", "aufs")} == {
        "overlay": True,
        "aufs": True,
    }
    assert all(warning("/d", kind) for kind in FLEETING)
    assert "in memory (tmpfs)" in (warning("/d", "tmpfs") or "")


@pytest.mark.parametrize("kind", ["", "ext4", "xfs", "btrfs", "zfs", "apfs", "fuse.mergerfs", "fuseblk", "sshfs"])
def test_disks_and_unknown_types_are_not(kind: str) -> None:
    assert warning("/srv/data", kind) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells its mounts in /proc")
def test_this_machine(tmp_path: Path) -> None:
    """Each real mount point is of the type that the kernel says, and so is a folder below that is not there yet."""
    assert MOUNTS.exists()
    assert kind_of("/proc") == "proc"
    assert kind_of("/proc/not/there") == "proc"
    assert kind_of("/dev/shm/eventmw-not-there") == "tmpfs"
    link = tmp_path / "link"
    link.symlink_to("/dev/shm")
    assert "in memory (tmpfs)" in (warning_for(link / "data") or "")


def harm(folder: Path, how: str) -> str:  # noqa: PLR0911 - a table
    """Make a data directory one that others can change; return the words that say so."""
    nobody = pwd.getpwnam("nobody")
    match how:
        case "world":
            folder.chmod(0o777)
            return "can be written by every user"
        case "group":
            os.chown(folder, -1, nobody.pw_gid)
            folder.chmod(0o770)
            return f"can be written by the group {nobody.pw_gid}"
        case "owner":
            os.chown(folder, nobody.pw_uid, -1)
            return "belongs to nobody"
        case "above":
            folder.parent.chmod(0o777)
            return "in a folder that every user can write"
        case "file":
            (folder / "keys.sqlite3").chmod(0o666)
            return "keys.sqlite3 can be read or written by other users (mode 0666)"
        case "file's owner":
            os.chown(folder / "archive.sqlite3", nobody.pw_uid, -1)
            return "archive.sqlite3 belongs to nobody"
        case _:
            (folder / "keys.sqlite3").rename(folder.parent / "elsewhere")
            (folder / "keys.sqlite3").symlink_to(folder.parent / "elsewhere")
            return "keys.sqlite3 is a symbolic link"


@pytest.mark.parametrize("how", ["world", "group", "owner", "above", "file", "file's owner", "link"])
def test_a_folder_that_others_can_change_is_warned_of(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    if how in {"group", "owner", "file's owner"} and os.geteuid() != 0:
        pytest.skip("only root can give files away")
    folder = tmp_path / "above" / "data"
    folder.mkdir(parents=True, mode=0o700)
    for name in ("keys.sqlite3", "archive.sqlite3"):
        (folder / name).touch(mode=0o600)
    assert not list(access_warnings(folder))
    words = harm(folder, how)
    [said] = access_warnings(folder)
    assert words in said
    assert said in list(journal_warnings("file", str(folder))), "`eventmw check` says it"
    FileJournal(folder).leave()
    assert said in caplog.messages, "and so does a site at its start"


def test_a_folder_that_is_not_there_yet_is_made_for_its_user_alone(tmp_path: Path) -> None:
    assert not list(access_warnings(tmp_path / "data"))
    FileJournal(tmp_path / "data").leave()
    assert not list(access_warnings(tmp_path / "data"))
