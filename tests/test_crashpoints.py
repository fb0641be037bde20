"""The named places to die at: nothing happens at them unless one is armed, and then the process is gone at once."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import crashpoints
from service.crashpoints import CrashPoint, arm, kill_at, reached

ROOT = Path(__file__).parents[1]
REACHES = """
from service.crashpoints import CrashPoint, arm, kill_at, reached
import atexit
atexit.register(lambda: print("cleaned up"))
arm(kill_at(CrashPoint.STATUS_UNCOMMITTED, 3))
for number in range(1, 9):
    for other in (CrashPoint.POLL_ANSWERED, CrashPoint.STATUS_COMMITTED):
        reached(other)
    print(number, flush=True)
    try:
        reached(CrashPoint.STATUS_UNCOMMITTED)
    finally:
        pass
print("still here")
"""


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    assert crashpoints._hook is None, "nothing may be armed in the process that runs the tests"
    yield
    arm(None)


@pytest.mark.parametrize("point", CrashPoint)
def test_unarmed_nothing_happens(point: CrashPoint) -> None:
    for _ in range(3):
        reached(point)


def test_whoever_armed_it_hears_of_every_point() -> None:
    heard: list[CrashPoint] = []
    arm(heard.append)
    reached(CrashPoint.FAN_OUT)
    reached(CrashPoint.MIGRATING)
    arm(None)
    reached(CrashPoint.FAN_OUT)
    assert heard == [CrashPoint.FAN_OUT, CrashPoint.MIGRATING]


def test_they_are_the_points_of_the_failure_model() -> None:
    assert [point.value for point in CrashPoint] == [f"C{number}" for number in range(1, 17)]


def test_each_is_reached_somewhere() -> None:
    """So that no setting waits for a crash that can't come."""
    source = "\n".join(path.read_text() for path in (ROOT / "service").rglob("*.py") if path.name != "crashpoints.py")
    assert [point.name for point in CrashPoint if f"CrashPoint.{point.name}" not in source] == []


def test_the_process_is_killed_without_clean_up_when_the_point_is_reached_that_often() -> None:
    process = subprocess.run(
        [sys.executable, "-c", REACHES], cwd=ROOT, check=False, capture_output=True, text=True, timeout=60
    )
    assert (process.returncode, process.stdout, process.stderr) == (-signal.SIGKILL, "1\n2\n3\n", "")


def test_only_its_own_point_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr("service.crashpoints.os.kill", lambda _process, number: killed.append(number))
    arm(kill_at(CrashPoint.FAN_OUT, 2))
    for _ in range(5):
        reached(CrashPoint.MIGRATING)
    reached(CrashPoint.FAN_OUT)
    assert killed == []
    reached(CrashPoint.FAN_OUT)
    assert killed == [signal.SIGKILL]
