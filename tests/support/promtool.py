"""Prometheus' own tool, where it is installed. Tests that need it are skipped without it; CI fails."""

import os
import shutil

import pytest


def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        reason = "promtool is not installed (Debian: apt-get install prometheus)"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}; .ci/run fetches it", pytrace=False)
        pytest.skip(reason)
    return found
