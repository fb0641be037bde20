"""Two releases on one database: on PostgreSQL side by side, while one replaces the other or is taken back."""

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.cli.processes import Child, Children
from service.storage.migrations import OLDEST_CODE
from tests.acceptance.load import say
from tests.acceptance.releases import PROJECT, after_ours, before_revision, newest
from tests.acceptance.stack import Stack, assert_one_event_each
from tests.storage.earlier import revisions

PATIENCE = 120.0
# Before the first release requests were compared in another way.
FINGERPRINTS_SINCE = "0003"
NEXT = f"{int(newest()) + 1:04d}"


@pytest.fixture(scope="session")
def kind_of_children() -> type[Children]:
    """Each release has to import its own code."""
    return Children


@pytest.fixture
def stack(postgres_stack: Stack) -> Stack:
    return postgres_stack


@dataclass
class Release:
    """A gateway of one release; `code` is where that is, None for ours."""

    stack: Stack
    code: Path | None
    child: Child
    api: httpx.Client

    def train(self, prefix: str, count: int, **body: Any) -> list[dict[str, Any]]:
        models = self.stack.models(count, prefix)
        asked = [{"model_id": model, "callback_url": self.stack.hook, **body} for model in models]
        return [self.api.post("/v1/trainings", json=one).raise_for_status().json() for one in asked]

    def end(self) -> None:
        assert self.child.end() == 0
        self.api.close()
        # Nothing that is an error, such as a statement that the tables no longer bear.
        said = (self.stack.folder / f"{self.child.name}.err").read_text().splitlines()
        entries = [json.loads(line) for line in said if line.startswith("{")]
        assert [entry for entry in entries if entry["level"] in ("error", "critical")] == []

    def kill(self) -> None:
        self.child.process.send_signal(signal.SIGKILL)
        self.child.process.wait(30)
        self.api.close()


def spawn(stack: Stack, code: Path | None) -> Child:
    stack.spawn_gateway(PYTHONPATH=str(code or PROJECT))
    return stack.gateway


def listening(stack: Stack, code: Path | None, child: Child) -> Release:
    where = child.log_entry("listening")["api"]
    return Release(stack, code, child, httpx.Client(base_url=where, timeout=60, trust_env=False))


def start(stack: Stack, code: Path | None) -> Release:
    return listening(stack, code, spawn(stack, code))


def share_secret(release: Release) -> None:
    secret = release.api.get("/v1/signing-secret").raise_for_status().json()["secret"]
    release.stack.sink.put("/_control/secrets", json={"default": secret}).raise_for_status()


class History:
    """All trainings that were accepted, by whomever."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.trainings: list[dict[str, Any]] = []

    def accepted(self, trainings: list[dict[str, Any]]) -> None:
        self.trainings += trainings

    def is_right(self) -> None:
        """Each was triggered once, and has one event, which came."""
        self._stack.wait_for_events(len(self.trainings), timeout=PATIENCE)
        assert_one_event_each(self._stack.received(), self.trainings, "ready")
        assert self._stack.triggers() == {training["model_id"]: 1 for training in self.trainings}


def takes_turns(stack: Stack, history: History, old: Release, new: Release) -> tuple[Release, Release]:
    """Both work at once; then what one has accepted is finished by the other, in both directions."""
    for turn in range(2):
        history.accepted(old.train(f"old-{turn}", 4))
        history.accepted(new.train(f"new-{turn}", 4))
    history.is_right()

    history.accepted(new.train("taken-back", 4))
    new.end()
    history.is_right()

    new = start(stack, new.code)
    history.accepted(old.train("upgraded", 4))
    return old, new


def test_the_release_before_runs_on_while_ours_starts_and_ends_beside_it(stack: Stack, tmp_path: Path) -> None:
    code = before_revision(newest(), tmp_path / "before")
    history = History(stack)
    old = start(stack, code)
    assert old.child.log_entry("migrated")["now"] == revisions()[-2]
    share_secret(old)
    history.accepted(old.train("first", 4))
    new = start(stack, None)
    migrated = new.child.log_entry("migrated")
    assert (migrated["before"], migrated["now"]) == (revisions()[-2], newest())

    old, new = takes_turns(stack, history, old, new)
    old.end()
    history.is_right()
    new.end()


def test_ours_runs_on_beside_the_next_and_can_start_again(stack: Stack, tmp_path: Path) -> None:
    """An expanding one, as the lint of the migrations wants it."""
    code = after_ours(tmp_path / "after")
    history = History(stack)
    # At once, on an empty database: whoever is first makes the tables.
    spawned = [(None, spawn(stack, None)), (code, spawn(stack, code))]
    old, new = [listening(stack, code, child) for code, child in spawned]
    share_secret(old)
    old, new = takes_turns(stack, history, old, new)

    old.kill()
    old = start(stack, None)
    assert old.child.log_entry("database_of_newer_release")["revision"] == NEXT
    history.accepted(old.train("again", 4))
    new.end()
    history.is_right()
    old.end()


def test_ours_does_not_start_on_what_it_can_not_run_on(stack: Stack, tmp_path: Path) -> None:
    code = after_ours(tmp_path / "after")
    contracting = code / "service/storage/migrations/__init__.py"
    raised = contracting.read_text().replace(f'OLDEST_CODE = "{OLDEST_CODE}"', f'OLDEST_CODE = "{NEXT}"')
    contracting.write_text(raised)
    start(stack, code).end()

    refused = spawn(stack, None)
    assert refused.process.wait(60) == 2
    said = (stack.folder / f"{refused.name}.err").read_text()
    assert f"The database is of a newer release (revision {NEXT}): use that release." in said
    assert "Traceback" not in said


@pytest.mark.timeout(1800)
def test_what_an_earlier_release_left_in_its_file_goes_on(tmp_path: Path, campaign: pytest.Config) -> None:
    for revision in revisions()[1:][-campaign.getoption("--releases") :]:
        folder = tmp_path / f"upgraded-from-{revision}"
        folder.mkdir()
        code = before_revision(revision, tmp_path / f"before-{revision}")
        with Children(folder) as children:
            stack = Stack(children)
            upgrade_of_a_file(stack, code)
            stack.close()


def upgrade_of_a_file(stack: Stack, code: Path) -> None:
    """Trainings under way and ended, with their secret, key and Idempotency-Key."""
    history = History(stack)
    old = start(stack, code)
    share_secret(old)
    history.accepted(old.train("ended", 2))
    stack.wait_for_events(2, timeout=PATIENCE)
    [model] = stack.models(1, "once")
    once = {"model_id": model, "callback_url": stack.hook}
    key = {"idempotency-key": "once"}
    history.accepted([old.api.post("/v1/trainings", json=once, headers=key).raise_for_status().json()])
    history.accepted(old.train("running", 2))
    left_at = old.child.log_entry("migrated")["now"]
    old.end()

    new = start(stack, None)
    migrated = new.child.log_entry("migrated")
    assert (migrated["before"], migrated["now"]) == (left_at, newest())
    history.is_right()
    if left_at >= FINGERPRINTS_SINCE:
        replayed = new.api.post("/v1/trainings", json=once, headers=key).raise_for_status().json()
        assert replayed["id"] == history.trainings[2]["id"]
    for training in history.trainings:
        assert new.api.get(f"/v1/trainings/{training['id']}").json()["status"] == "ready"
    history.accepted(new.train("new", 2))
    history.is_right()
    new.end()
    say(f"a file at {left_at} was upgraded to {newest()}, and its trainings went on")
