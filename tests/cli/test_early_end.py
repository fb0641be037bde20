"""A gateway may be told to end before it has read its own code: process 1 of a container that is taken back at once."""

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_serve_ends_in_order_while_it_is_still_being_loaded(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "service", "serve"]
    environment = {"PYTHONPATH": str(ROOT), "DATABASE_URL": f"sqlite:///{tmp_path}/gateway.db"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        # One of the first of many hundred imports.
        assert any("service.cli.terminal" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(30) == 0
    assert "service.server" not in rest
