"""Where a SQLite file lies: WAL needs shared memory, which network file systems lack; and some places are not kept.

Linux tells by its mount table; elsewhere nothing is known, and nothing is said.
"""

from __future__ import annotations

import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"}
)
_FLEETING = {"tmpfs": "memory", "ramfs": "memory", "overlay": "a container's own layer"}


def file_system_of(folder: Path, mounts: str) -> str | None:
    """The type of the file system that `folder` is on, by the text of a mountinfo (proc(5)); the last mount counts."""
    found, longest = None, -1
    for line in mounts.splitlines():
        fields, _, source = line.partition(" - ")
        parts = fields.split(" ")
        if len(parts) < 5 or not source:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), parts[4]))
        if folder.is_relative_to(point) and len(point.parts) >= longest:
            found, longest = source.split(" ")[0], len(point.parts)
    return found


def is_network(file_system: str | None) -> bool:
    """SQLite's own advice is against it: sqlite.org/wal.html, "does not work over a network filesystem"."""
    return file_system in _NETWORK


def fleeting(file_system: str | None) -> str | None:
    """What the database would be lost with, if it would be."""
    return _FLEETING.get(file_system or "")


def file_system_here(folder: Path) -> str | None:
    """`file_system_of` for this machine, or None where it does not tell."""
    try:
        return file_system_of(folder.resolve(), _MOUNTS.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
