"""Runs a receiver of docs/receivers as a process on a free port, and reads from its output what it handled."""

import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from service.cli.processes import Child
from service.environment import environment_without_settings
from tests.support.node import require_npm_verifier
from tests.support.waiting import wait_until_sync

EXAMPLES = Path(__file__).parents[2] / "docs" / "receivers"
GO = "receiver.go"
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

_NODE_MODULES = Path(__file__).parents[1] / "node" / "node_modules"
_ROUTE_SERVER = Path(__file__).with_name("route_server.mjs")


class Receiver:
    """A running one. Each start in the same folder is another `Receiver` with an output of its own."""

    def __init__(self, name: str, folder: Path, *, start: int = 1, slow: bool = False, secret: str = SECRET) -> None:
        self.name = name
        self._folder = folder
        self._start = start
        self._stdout, self._stderr = folder / f"{start}.out", folder / f"{start}.err"
        command = COMMANDS[name](_copy(name, folder, slow=slow))
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=_environment(PORT="0", WEBHOOK_SECRET=secret),
            )
        self._child = Child(name, self._process, self._stdout, self._stderr)
        # No connection is kept for as long as a server would keep it: one that it is about to close is of no use.
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{self._port()}", timeout=15, limits=httpx.Limits(keepalive_expiry=1)
        )

    @property
    def hook(self) -> str:
        return str(self._client.base_url.join("/hook"))

    def post(self, body: bytes, headers: Mapping[str, str]) -> int:
        return self._client.post("/hook", content=body, headers=dict(headers)).status_code

    def handled(self) -> list[str]:
        """`TYPE TRAINING SEQUENCE` of each event that it acted upon."""
        return re.findall(r"^(?:INFO: +)?handled (.*)\n", self._output(), flags=re.MULTILINE)

    def restarted(self) -> "Receiver":
        self.end()
        return Receiver(self.name, self._folder, start=self._start + 1)

    def end(self) -> None:
        self._client.close()
        self._child.end()

    def _port(self) -> str:
        try:
            wait_until_sync(
                lambda: self._announced() or self._process.poll() is not None,
                what=f"{self.name} says where it listens",
                timeout=30,
            )
            port = self._announced()
            assert port is not None, self._output()
        except BaseException:
            self._child.end()
            raise
        return port

    def _announced(self) -> str | None:
        found = re.search(r"http://127\.0\.0\.1:(\d+).*\n", self._output())
        return found and found[1]

    def _output(self) -> str:
        return self._stdout.read_text(encoding="utf-8") + self._stderr.read_text(encoding="utf-8")


def _environment(**more: str) -> Mapping[str, str]:
    return {**environment_without_settings(), "WEBHOOK_SECRET": SECRET, **more}


def _python(source: Path) -> Sequence[str]:
    return [sys.executable, "-m", "uvicorn", f"{source.stem}:app", "--port", "0"]


def _express(source: Path) -> Sequence[str]:
    _find_packages(source.parent)
    return ["node", str(source)]


def _nextjs(source: Path) -> Sequence[str]:
    _find_packages(source.parent)
    return ["node", str(_ROUTE_SERVER), str(source)]


def _go(source: Path) -> Sequence[str]:
    program = source.with_suffix("")
    # No other version is downloaded, whatever the machine's settings are.
    environment = _environment(GOTOOLCHAIN="local")
    for command in (["go", "vet", source.name], ["go", "build", "-o", program.name, source.name]):
        done = subprocess.run(
            command, cwd=source.parent, env=environment, capture_output=True, text=True, timeout=50, check=False
        )
        assert done.returncode == 0, done.stderr
    return [str(program)]


def _find_packages(folder: Path) -> None:
    """The packages of tests/node, where the JavaScript receivers would have theirs in a project."""
    require_npm_verifier()
    if not (_NODE_MODULES / "express").is_dir():
        problem = "npm's express is not installed: run `make test`, or `npm ci` in tests/node"
        (pytest.fail if environment_without_settings().get("CI") == "true" else pytest.skip)(problem)
    packages = folder / "node_modules"
    if not packages.exists():
        packages.symlink_to(_NODE_MODULES, target_is_directory=True)


COMMANDS: Mapping[str, Callable[[Path], Sequence[str]]] = {
    "fastapi_receiver.py": _python,
    "express_receiver.mjs": _express,
    "nextjs_route.mjs": _nextjs,
    GO: _go,
}

# The line that stands for work, and the same after a second.
_SLOW = {
    ".py": ('log.info("handled', '__import__("time").sleep(1); log.info("handled'),
    ".mjs": ('console.log("handled"', 'await new Promise((go) => setTimeout(go, 1000)); console.log("handled"'),
    ".go": ('fmt.Println("handled"', 'time.Sleep(time.Second); fmt.Println("handled"'),
}


def _copy(name: str, folder: Path, *, slow: bool) -> Path:
    """It is run where it may write, and beside nothing else."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    copy = folder / name
    quick_line, slow_line = _SLOW[copy.suffix]
    assert text.count(quick_line) == 1
    copy.write_text(text.replace(quick_line, slow_line) if slow else text, encoding="utf-8")
    return copy
