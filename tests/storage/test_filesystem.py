"""Where SQLite may lie: told by the mount table, refused on a network, warned of where it would not last."""

from pathlib import Path

import pytest

from service.domain.errors import ConfigurationError
from service.storage import sqlite
from service.storage.database import Database
from service.storage.filesystem import file_system_here, file_system_of, fleeting, is_network

MOUNTS = """\
22 1 0:20 / / rw,relatime - overlay overlay rw,lowerdir=/a
23 22 0:21 / /data rw,relatime shared:2 - ext4 /dev/vda1 rw
24 23 0:22 / /data/shared rw - nfs4 server:/export rw,vers=4.2
25 22 0:23 / /mnt/with\\040blank rw - cifs //server/share rw
26 22 0:24 / /dev/shm rw,nosuid - tmpfs tmpfs rw
27 23 0:25 / /data/twice rw - nfs server:/old rw
28 23 0:26 / /data/twice rw - xfs /dev/vdb1 rw
a line that is none
"""


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/", "overlay"),
        ("/home/app", "overlay"),
        ("/data", "ext4"),
        ("/data/gateway", "ext4"),
        ("/data/shared", "nfs4"),
        ("/data/shared/deep/down", "nfs4"),
        ("/data/sharedelse", "ext4"),
        ("/mnt/with blank/x", "cifs"),
        ("/dev/shm/x", "tmpfs"),
        ("/data/twice/x", "xfs"),
    ],
)
def test_the_deepest_and_latest_mount_counts(folder: str, expected: str) -> None:
    assert file_system_of(Path(folder), MOUNTS) == expected


def test_a_table_that_says_nothing_is_no_reason_to_refuse() -> None:
    assert file_system_of(Path("/data"), "") is None
    assert not is_network(None)
    assert fleeting(None) is None


def test_it_reads_this_machines_table(tmp_path: Path) -> None:
    found = file_system_here(tmp_path)
    assert found is None or found.isprintable()


@pytest.mark.parametrize("file_system", ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs"])
def test_a_network_is_refused(file_system: str) -> None:
    with pytest.raises(ConfigurationError, match=f"network file system.*{file_system}.*PostgreSQL"):
        sqlite._refuse_or_warn("sqlite:///x.db", file_system)


@pytest.mark.parametrize(
    ("file_system", "words"), [("ext4", 0), ("xfs", 0), (None, 0), ("tmpfs", 1), ("ramfs", 1), ("overlay", 1)]
)
def test_a_place_that_is_not_kept_is_warned_of(
    file_system: str | None, words: int, capsys: pytest.CaptureFixture[str]
) -> None:
    sqlite._refuse_or_warn("sqlite:///x.db", file_system)
    assert capsys.readouterr().out.count("database_will_not_last") == words


async def test_a_local_disk_is_fine(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
    await database.check()
    await database.close()
