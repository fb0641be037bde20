"""The code of other releases, to be run beside ours: of the past from the history, of the future made up."""

import re
import shutil
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from service.storage import migrations

PROJECT = Path(__file__).parents[2]
_VERSIONS = "service/storage/migrations/versions"
_NEXT = '''"""What the release after this one may add."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("tenants", "trainings", "callbacks", "events", "deliveries", "attempts", "idempotency_keys"):
        op.add_column(table, sa.Column("later", sa.String(), nullable=True))
        op.add_column(table, sa.Column("counted", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
        op.create_index(f"ix_{{table}}_later", table, ["later"])
    op.create_table("novelties", sa.Column("id", sa.String(), nullable=False), sa.PrimaryKeyConstraint("id"))
'''


def newest() -> str:
    return str(migrations.newest_revision())


def before_revision(revision: str, folder: Path) -> Path:
    """Unpack the last code before this revision into `folder`; skips where there is no history that knows it."""
    [file] = (PROJECT / _VERSIONS).glob(f"{revision}_*.py")
    made = _git("log", "--diff-filter=A", "--format=%H", "--", f"{_VERSIONS}/{file.name}").decode().split()
    unpacked = _git("archive", _last_whole(f"{made[-1]}^" if made else "HEAD", before=revision), "service")
    with tarfile.open(fileobj=BytesIO(unpacked)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _last_whole(commit: str, *, before: str) -> str:
    """This commit, or the last one before it whose revisions are all those before `before`: two branches may have had
    the same number, until they met.
    """
    wanted = [f"{number:04d}" for number in range(1, int(before))]
    for older in _git("rev-list", "--first-parent", "--max-count=50", commit).decode().split():
        files = _git("ls-tree", "--name-only", older, f"{_VERSIONS}/").decode().split()
        if sorted(found[0] for name in files if (found := re.findall(r"/(\d{4})_", name))) == wanted:
            return older
    pytest.skip(f"the history has no code whose newest revision is the one before {before}")


def after_ours(folder: Path) -> Path:
    """Ours with one more migration."""
    shutil.copytree(PROJECT / "service", folder / "service", ignore=shutil.ignore_patterns("__pycache__"))
    revision = f"{int(newest()) + 1:04d}"
    migration = _NEXT.format(revision=revision, before=newest())
    (folder / _VERSIONS / f"{revision}_later.py").write_text(migration, encoding="utf-8")
    return folder


def _git(*arguments: str) -> bytes:
    try:
        return subprocess.run(["git", "-C", str(PROJECT), *arguments], check=True, capture_output=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"the code of earlier releases is in the history, which is not here: {error}")
