"""One workload in tiny, by the command as it is typed: the real gateway, the real fakes, and a result that adds up."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_PROJECT = Path(__file__).parents[2]


@pytest.mark.timeout(180)
def test_a_tiny_run_completes_what_it_began_and_writes_down_how(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    sizes = ["--seconds", "0.3", "--in-flight", "4", "--rounds", "1", "--poll-interval", "0.5"]
    command = [sys.executable, "-m", "bench", "complete", "--targets", "gateway", *sizes, "--json", str(result)]
    ran = subprocess.run(command, cwd=_PROJECT, capture_output=True, text=True, check=False, timeout=170)
    assert ran.returncode == 0, ran.stderr
    written = json.loads(result.read_text())
    [row] = written["rows"]
    figures = row["figures"]
    assert (row["workload"], row["target"], row["case"], row["round"]) == ("complete", "gateway", "4 in flight", 1)
    assert figures["completed"] > 0
    assert (figures["lost"], figures["doubled"], figures["triggered again"], figures["failed"]) == (0, 0, 0, 0)
    assert figures["completed/s"] > 0
    assert figures["peak PSS MB"] >= figures["idle PSS MB"] > 10
    assert written["command"].startswith("python -m bench complete")
    assert written["machine"]["cores"] >= 1


def test_a_target_that_is_not_there_is_named() -> None:
    command = [sys.executable, "-m", "bench", "ingest", "--targets", "gateway,celery"]
    ran = subprocess.run(command, cwd=_PROJECT, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 1
    assert "There is no target celery" in ran.stderr
