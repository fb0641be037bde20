"""buildah and podman, with images, containers, volumes and locks in one folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[2]
_NEEDED = {"buildah": "buildah", "podman": "podman", "catatonit": "catatonit", "unshare": "util-linux"}
_RUNTIMES = ("runc", "crun")
_CONFIGURATION = """\
[containers]
# Without the right to raise limits, podman's own cannot be set.
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "{runtime}"
helper_binaries_dir = ["/usr/libexec/podman", "/usr/local/libexec/podman", "/usr/lib/podman", "/usr/bin"]
tmp_dir = "{folder}/tmp"
[network]
network_config_dir = "{folder}/networks"
"""
T = TypeVar("T")


class Failed(Exception):
    """What was tried did not work; in one sentence."""


def missing_tools() -> str | None:
    """What stands in the way, with the remedy."""
    if os.geteuid() != 0:
        return "has to run as root: it builds images, and makes namespaces."
    missing = [package for name, package in _NEEDED.items() if not shutil.which(name)]
    if not any(map(shutil.which, _RUNTIMES)):
        missing.append(_RUNTIMES[0])
    return f"needs {', '.join(missing)}: apt-get install {' '.join(missing)}" if missing else None


class Containers:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        runtime = next(name for name in _RUNTIMES if shutil.which(name))
        configuration = folder / "containers.conf"
        configuration.write_text(_CONFIGURATION.format(runtime=runtime, folder=folder))
        self._environment = {**os.environ, "CONTAINERS_CONF": str(configuration)}
        self._storage = ["--root", f"{folder}/storage", "--runroot", f"{folder}/run", "--storage-driver", "overlay"]

    def buildah(self, *arguments: str) -> str:
        return self._run(["buildah", *self._storage, *arguments])

    def podman(self, *arguments: str) -> str:
        return self._run(["podman", *self._storage, *arguments])

    def ask_podman(self, *arguments: str) -> int:
        """The exit code, where another than 0 is an answer."""
        command = ["podman", *self._storage, *arguments]
        return subprocess.run(command, check=False, env=self._environment, capture_output=True).returncode

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        (found,) = json.loads(self.podman(kind, "inspect", name))
        return dict(found)

    def has_image(self, name: str) -> bool:
        return self.ask_podman("image", "exists", name) == 0

    def build(self, tag: str, *arguments: str, context: Path = ROOT) -> None:
        built = ["--isolation", "chroot", "--format", "docker", "--layers", "--pull-never", "--tag", tag]
        self.buildah("bud", *built, *arguments, str(context))

    def remove_all(self) -> None:
        """Containers, Pods and volumes; images stay in the folder."""
        self.ask_podman("pod", "rm", "--all", "--force", "--time", "0")
        self.ask_podman("rm", "--all", "--force", "--time", "0")
        self.ask_podman("volume", "rm", "--all", "--force")
        self.ask_podman("secret", "rm", "--all")

    def _run(self, command: list[str]) -> str:
        return run(command, self._environment)


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    """What it prints; Failed with its last words if it fails."""
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise Failed(f"`{' '.join(command)[:200]}` ended with {done.returncode}:\n{said}")
    return done.stdout.strip()


def expect(what: str, *, that: bool) -> None:
    if not that:
        raise Failed(f"Not so: {what}.")


def wait_for(what: str, asked: Callable[[], T | None], seconds: float = 30) -> T:
    """What `asked` gives, as soon as it gives something; an OSError is nothing."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            answer = asked()
        except OSError:
            answer = None
        if answer:
            return answer
        time.sleep(0.02)
    raise Failed(f"Waited {seconds:g} s in vain for {what}.")
