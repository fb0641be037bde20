"""`python -m deploy.trial image|pod [--keep FOLDER]`.

Starts itself again in a private mount namespace, which takes its mounts along when it ends, and then removes the folder
with the images; `--keep` keeps it, and the next run is quicker.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.trial import image, pod
from deploy.trial.containers import Containers, Failed, missing_tools

_INSIDE = "--inside"
_TRIALS = {"image": image.trial, "pod": pod.trial}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.trial")
    parser.add_argument("what", choices=sorted(_TRIALS))
    parser.add_argument("--keep", type=Path, help="a folder for images and containers that is not removed")
    parser.add_argument(_INSIDE, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        return _inside(given.what, given.inside)
    if missing := missing_tools():
        sys.stderr.write(f"make {given.what}-test: {missing}\n")
        return 1
    with _folder(given.keep) as folder:
        command = [sys.executable, "-m", "deploy.trial", given.what, _INSIDE, str(folder)]
        return subprocess.run(["unshare", "--mount", "--propagation", "private", *command], check=False).returncode


def _inside(what: str, folder: Path) -> int:
    # crun and runc refuse the mixture of both kinds of control groups.
    if os.path.ismount("/sys/fs/cgroup/unified"):
        subprocess.run(["umount", "/sys/fs/cgroup/unified"], check=True)
    containers = Containers(folder)
    try:
        _TRIALS[what](containers)
    except Failed as failed:
        sys.stderr.write(f"make {what}-test: {failed}\n")
        return 1
    finally:
        containers.remove_all()
    return 0


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    # Not in memory, which /tmp often is.
    made = Path(tempfile.mkdtemp(prefix="photogpt-webhooks-trial-", dir="/var/tmp"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


if __name__ == "__main__":
    sys.exit(main())
