"""The reference verifier of another language: npm's `standardwebhooks`, run by `tests/node/verify.mjs`."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, cast

import pytest

_FOLDER = Path(__file__).parents[1] / "node"


class SignedMessage(TypedDict):
    """One webhook as it was received: the three headers, the body, and the secret to check it with."""

    secret: str
    id: str
    timestamp: str
    signature: str
    body: str


class Verdict(TypedDict):
    id: str
    ok: bool
    problem: str | None


def verify_with_npm(messages: Sequence[SignedMessage]) -> list[Verdict]:
    """One verdict for each message, in the same order."""
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    command = ["node", str(_FOLDER / "verify.mjs")]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [cast("Verdict", json.loads(line)) for line in done.stdout.splitlines()]


def require_npm_verifier() -> None:
    """Skip the test where Node.js is not installed; in CI that is a failure."""
    problem = _missing()
    if problem is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(problem)
    pytest.skip(problem)


def _missing() -> str | None:
    if shutil.which("node") is None:
        return "node is not installed: nothing to verify signatures with"
    if not (_FOLDER / "node_modules/standardwebhooks").is_dir():
        return "npm's standardwebhooks is not installed: run `make test`, or `npm ci` in tests/node"
    return None
