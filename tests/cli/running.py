"""Runs commands: in this process, which is quick, or in one of their own, as a shell does."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from service.cli.commands import run
from service.environment import environment_without_settings


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def command(*arguments: str, **settings: str) -> Done:
    """Run it here, in an environment with these settings instead of those of this machine."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        for name in ("GATEWAY_URL", "GATEWAY_TOKEN", "PHOTOGPT_API_KEY"):
            patch.delenv(name, raising=False)
        for name, value in settings.items():
            patch.setenv(name, value)
        try:
            code = run(list(arguments))
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Done(int(code), out.getvalue(), err.getvalue())


def process(*arguments: str, **settings: str) -> Done:
    """Run it as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**environment_without_settings(), **settings},
    )
    return Done(done.returncode, done.stdout, done.stderr)
