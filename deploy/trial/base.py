"""The base of the image: the official one where a registry is at hand, else a stand-in made by debootstrap."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from deploy.trial.containers import ROOT, Containers, Failed

# Has Python 3.11, as the official base.
_RELEASE = "bookworm"
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
_NOT_NEEDED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")


def ensure_base(containers: Containers) -> str:
    """Its name, with a word on what it is."""
    name = _name()
    if not containers.has_image(name) and containers.ask_podman("pull", "--quiet", name) != 0:
        _stand_in(containers, name)
    labels = containers.inspect("image", name)["Labels"] or {}
    return f"{name} ({labels.get('stand-in', 'the official one')})"


def _name() -> str:
    dockerfile = (ROOT / "Dockerfile").read_text()
    found = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", dockerfile, flags=re.MULTILINE)
    if found is None:
        raise Failed("The Dockerfile has no ARG PYTHON_IMAGE.")
    return f"docker.io/library/{found[1]}"


def _stand_in(containers: Containers, name: str) -> None:
    if not shutil.which("debootstrap"):
        raise Failed(f"No registry gives {name}, and there is no debootstrap to make a stand-in with.")
    files = containers.folder / "base"
    print(f"- no registry gives {name}: making a stand-in, which takes a minute or two", flush=True)
    made = ["debootstrap", "--variant=minbase", "--include=ca-certificates,python3,python3-venv", _RELEASE, str(files)]
    done = subprocess.run([*made, _mirror()], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"debootstrap ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    for folder in _NOT_NEEDED:
        shutil.rmtree(files / folder)
    (files / "usr/bin/python").symlink_to("python3")
    # Whom this machine trusts: its way to PyPI may lead through a mirror. In the stand-in, never in the Dockerfile.
    shutil.copy(Path("/") / _CERTIFICATES, files / _CERTIFICATES)
    working = containers.buildah("from", "scratch")
    containers.buildah("add", working, f"{files}/", "/")
    settings = [f"{name}=/{_CERTIFICATES}" for name in ("PIP_CERT", "SSL_CERT_FILE")]
    options = [option for setting in settings for option in ("--env", setting)]
    containers.buildah("config", *options, "--label", f"stand-in=a stand-in: Debian {_RELEASE}, its Python", working)
    containers.buildah("commit", "--quiet", "--rm", "--format", "docker", working, name)
    shutil.rmtree(files)


def _mirror() -> str:
    """Where this machine has its packages from."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"]
    targets = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split("\n")
    return next((uri for uri, _, release in (line.partition(" ") for line in targets) if release == _RELEASE), "")
