"""kubectl and helm: in `.venv/kubernetes` (tests/deploy/carrier.py), or in the folder that KUBERNETES_TOOLS names, or
on PATH. Where there is none, the tests that need one are skipped; in CI that is a failure.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([_found(name), *arguments], check=False, capture_output=True, text=True, timeout=60)


def _found(name: str) -> str:
    own = Path(os.environ.get("KUBERNETES_TOOLS", _ROOT / ".venv/kubernetes")) / name
    found = str(own) if own.is_file() else shutil.which(name)
    if found is None:
        missing = f"there is no {name}: run `make test`, or put one on PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return found
