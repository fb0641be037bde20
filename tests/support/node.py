"""Verifiers of another language: npm's `standardwebhooks` for `v1` (`tests/node/verify.mjs`), and for `v1a` the ed25519
of Node.js itself (`tests/node/verify_ed25519.mjs`).
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypedDict, cast

import pytest

_FOLDER = Path(__file__).parents[1] / "node"


class ReceivedMessage(TypedDict):
    """One webhook as it was received: the three headers and the body."""

    id: str
    timestamp: str
    signature: str
    body: str


class SignedMessage(ReceivedMessage):
    """... and the `whsec_` secret to check it with."""

    secret: str


class KeySignedMessage(ReceivedMessage):
    """... and the `whpk_` public key to check it with."""

    public_key: str


class Verdict(TypedDict):
    id: str
    ok: bool
    problem: str | None


def verify_with_npm(messages: Sequence[SignedMessage]) -> list[Verdict]:
    """One verdict for each message, in the same order."""
    return _verdicts("verify.mjs", messages)


def verify_ed25519_with_node(messages: Sequence[KeySignedMessage]) -> list[Verdict]:
    """One verdict for each message, in the same order."""
    return _verdicts("verify_ed25519.mjs", messages)


def require_npm_verifier() -> None:
    """Skip the test where Node.js or the package is not installed; in CI that is a failure."""
    require_node()
    if not (_FOLDER / "node_modules/standardwebhooks").is_dir():
        miss("npm's standardwebhooks is not installed: run `make test`, or `npm ci` in tests/node")


def require_node() -> None:
    """Skip the test where Node.js is not installed; in CI that is a failure."""
    if shutil.which("node") is None:
        miss("node is not installed: nothing to verify signatures with")


def _verdicts(script: str, messages: Sequence[Mapping[str, Any]]) -> list[Verdict]:
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    command = ["node", str(_FOLDER / script)]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [cast("Verdict", json.loads(line)) for line in done.stdout.splitlines()]


def miss(problem: str) -> NoReturn:
    """Skip the test for want of a tool; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(problem)
    pytest.skip(problem)
