"""Can the tests fail? Plants one bug at a time in a copy of the project and says which tests notice it.

`python -m tests.planted_bugs [NUMBER...]`, or `make planted-bugs`. Each bug is run against the tests named with it, and
against seeds of the simulation, which knows of no bug in particular. Exit code 1 if one bug goes unnoticed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_SEEDS = 40


@dataclass(frozen=True)
class Bug:
    """`before` becomes `after` in `file`; `tests` should notice."""

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


BUGS = (
    Bug(
        "the caller is answered before the commit",
        "service/storage/group_commit.py",
        "                    job.result = job.work(connection)\n                except",
        "                    job.result = job.work(connection)\n"
        "                    job.done.get_loop().call_soon_threadsafe(job.answer)\n"
        "                except",
        ("tests/storage/test_group_commit.py", "tests/storage/test_settle.py", "tests/storage/test_unavailable.py"),
    ),
    Bug(
        "a result is stored whoever holds the row by now (no fencing)",
        "service/storage/prepared.py",
        'TRAININGS.c.fence == bindparam("held"),',
        'bindparam("held") >= 0,',
        ("tests/storage/test_compare_and_set.py", "tests/trainings/test_crashes.py"),
    ),
    Bug(
        "no unique index on event x target",
        "service/storage/migrations/versions/0003_webhook_endpoints.py",
        '"uq_deliveries_callback", "deliveries", ["event_id", "callback_id"], unique=True',
        '"uq_deliveries_callback", "deliveries", ["event_id", "callback_id"], unique=False',
        ("tests/storage/test_uniqueness.py", "tests/storage/test_migrations.py"),
    ),
    Bug(
        "a late tick is skipped",
        "service/scheduler.py",
        "misfire_grace_time=None",
        "misfire_grace_time=1",
        ("tests/test_scheduler.py",),
    ),
    Bug(
        "one 404 means deleted",
        "service/domain/training.py",
        "NOT_FOUND_LIMIT = 3",
        "NOT_FOUND_LIMIT = 1",
        ("tests/domain/test_training.py", "tests/trainings/test_bad_polls.py"),
    ),
    Bug(
        "a trigger whose answer is lost is triggered again",
        "service/photogpt/client.py",
        "            return Unclear(reason) if failure.sent else NotReached(reason)\n",
        "            if failure.sent:\n"
        '                await self._triggers.send("GET", f"{self._model_url(model_id)}/train", headers)\n'
        "            return Unclear(reason) if failure.sent else NotReached(reason)\n",
        ("tests/api/test_unclear_outcomes.py", "tests/photogpt/test_client.py"),
    ),
    Bug(
        "the trigger comes before its intent is stored",
        "service/trainings/intake.py",
        "        begun = await self._database.transaction(",
        "        await self._photogpt.trigger(caller.key, request.model_id)\n"
        "        begun = await self._database.transaction(",
        ("tests/api/test_trainings.py", "tests/trainings/test_storage_outages.py"),
    ),
    Bug(
        "a status changes without its event (no outbox)",
        "service/trainings/record.py",
        "        news = _news(held.before, watch)\n",
        "        news = [] if watch.status == Status.DELETED else _news(held.before, watch)\n",
        ("tests/trainings/test_watching.py",),
    ),
    Bug(
        "work under way here is claimed again when the clock jumps",
        "service/webhooks/dispatcher.py",
        "            busy=frozenset(self._busy),\n",
        "            busy=(),\n",
        ("tests/webhooks/test_retries.py", "tests/webhooks/test_attempts.py", "tests/trainings/test_clock_jumps.py"),
    ),
    Bug(
        "a host has no bound",
        "service/domain/hosts.py",
        "return max(0, self.limit - self.in_flight)",
        "return self.limit",
        ("tests/domain/test_hosts.py", "tests/webhooks/test_isolation.py"),
    ),
    Bug(
        "a cursor repeats the event that it stands at",
        "service/storage/events.py",
        "Event.position > position",
        "Event.position >= position",
        ("tests/storage/test_events.py", "tests/api/test_events.py"),
    ),
    Bug(
        "recover skips a delivery in each batch",
        "service/storage/deliveries.py",
        "self._resend(first, now)",
        "self._resend(first[1:], now)",
        ("tests/storage/test_resending.py", "tests/api/test_recovery.py"),
    ),
    Bug(
        "what waited for a paused endpoint is never sent",
        "service/storage/deliveries.py",
        "col(Delivery.due_at).is_(None), due_at=now",
        "col(Delivery.due_at).is_not(None), due_at=now",
        ("tests/storage/test_resending.py", "tests/webhooks/test_endpoints.py"),
    ),
    Bug(
        "an old secret signs for ever",
        "service/storage/due_delivery.py",
        "and now < until",
        "and now != until",
        ("tests/storage/test_due_delivery.py", "tests/webhooks/test_rotation.py"),
    ),
    Bug(
        "a training expires at the first look at a wrong clock",
        "service/domain/training.py",
        "    if too_long and watch.expiring:\n",
        "    if too_long:\n",
        ("tests/domain/test_training.py", "tests/trainings/test_clock_jumps.py"),
    ),
    Bug(
        "what came of a call is forgotten if the database is away",
        "service/storage/database.py",
        "                if clock.monotonic() + _SETTLE_PAUSE > until:\n                    raise\n",
        "                raise\n",
        ("tests/storage/test_settle.py", "tests/trainings/test_storage_outages.py"),
    ),
    Bug(
        "one failing unit of work undoes its whole group (no savepoints)",
        "service/storage/group_commit.py",
        '        driver.execute("ROLLBACK TO unit_of_work")\n',
        "",
        ("tests/storage/test_group_commit.py", "tests/storage/test_transactions.py"),
    ),
    Bug(
        "a delivery is done with whatever the receiver answers",
        "service/domain/delivery.py",
        "SUCCESS = range(200, 300)",
        "SUCCESS = range(200, 600)",
        ("tests/domain/test_delivery.py", "tests/webhooks/test_retries.py"),
    ),
    Bug(
        "a 429 makes nobody wait",
        "service/trainings/poller.py",
        "            if isinstance(seen, Throttled):\n                pause_key",
        "            if False:\n                pause_key",
        ("tests/trainings/test_manners.py",),
    ),
    Bug(
        "after a restart a model may be polled right away again",
        "service/storage/trainings.py",
        "update(Training).where(col(Training.due_at) > latest).values(due_at=latest))\n",
        "update(Training).where(col(Training.due_at) > latest)"
        ".values(due_at=latest - timedelta(days=1), last_polled_at=None))\n",
        ("tests/storage/test_trainings.py", "tests/trainings/test_restarts.py"),
    ),
    Bug(
        "the key is kept when the last training ends",
        "service/trainings/record.py",
        "            unit.tenants.erase_key_if_idle(row.tenant_id)\n",
        "            pass\n",
        ("tests/trainings/test_keys.py",),
    ),
    Bug(
        "only the first address of a name is judged",
        "service/outbound/dialling.py",
        "    on_its_way.approve(addresses)\n",
        "    on_its_way.approve(addresses[:1])\n",
        ("tests/outbound/test_guard.py",),
    ),
    Bug(
        "only the first address of the name of what streams is judged",
        "service/outbound/connector.py",
        "        at_work.approve(addresses)\n",
        "        at_work.approve(addresses[:1])\n",
        ("tests/outbound/test_guard.py",),
    ),
    Bug(
        "the peer of a connection is not compared with what was judged",
        "service/outbound/engine.py",
        "            on_its_way.leave(line.transport)\n",
        "            on_its_way.connected = on_its_way.sent = True\n",
        ("tests/outbound/test_guard.py",),
    ),
    Bug(
        "a request whose connection breaks is repeated",
        "service/outbound/engine.py",
        "self._session._retry_connection = False",
        "self._session._retry_connection = True",
        ("tests/outbound/test_streams.py",),
    ),
    Bug(
        "a kept connection is used whatever was said on it meanwhile",
        "service/outbound/http1.py",
        "            self._spent = True\n            self.transport.close()\n            return\n",
        "            return\n",
        ("tests/outbound/test_keep_alive.py",),
    ),
    Bug(
        "a body that ends too early is whole",
        "service/outbound/http1.py",
        'self._fail(BadAnswer("ended too early"))',
        "self._finish(complete=True)",
        ("tests/outbound/test_failures.py",),
    ),
    Bug(
        "a key that nobody knows is let in unasked",
        "service/tenancy.py",
        "        return await self._admission.check(caller.tenant_id, ask)\n",
        "        return None\n",
        ("tests/api/test_unknown_keys.py",),
    ),
    Bug(
        "a list is believed about what is overdue",
        "service/domain/sweep.py",
        "not (overdue or watch.suspended or watch.not_found_count)",
        "not (watch.suspended or watch.not_found_count)",
        ("tests/domain/test_sweep.py", "tests/trainings/test_sweeps.py"),
    ),
    Bug(
        "others poll a key while its list is read",
        "service/storage/sweeps.py",
        "**values(polls_paused_until=until, ",
        "**values(polls_paused_until=None, ",
        ("tests/storage/test_sweeps.py", "tests/trainings/test_sweeps.py"),
    ),
    Bug(
        "a sweep is recorded whoever holds the row by now",
        "service/storage/sweeps.py",
        "tuple_(col(Training.id), col(Training.fence)).in_([(training.id, training.fence) for training in trainings])",
        "col(Training.id).in_([training.id for training in trainings])",
        ("tests/storage/test_sweeps.py",),
    ),
    Bug(
        "what was asked before the trigger counts as seen after it",
        "service/domain/sighting.py",
        "return since < began and ",
        "return ",
        ("tests/domain/test_sighting.py", "tests/api/test_sightings.py"),
    ),
    Bug(
        "what is sealed opens for another owner",
        "service/vault.py",
        'return f"{purpose}|{owner}".encode()',
        "return purpose.encode()",
        ("tests/test_vault.py",),
    ),
    Bug(
        "a web page may call an open sidecar by a name of its own",
        "service/api/edge.py",
        "if host is not None and not _names_this_machine(host):",
        "if host is None:",
        ("tests/edge/test_edge.py",),
    ),
)


def main() -> int:
    chosen = [int(number) for number in sys.argv[1:]] or range(1, len(BUGS) + 1)
    unnoticed = [number for number in chosen if not _noticed(number, BUGS[number - 1])]
    print(f"{len(chosen)} bugs planted, {len(unnoticed)} unnoticed {unnoticed or ''}")
    return 1 if unnoticed else 0


def _noticed(number: int, bug: Bug) -> bool:
    with tempfile.TemporaryDirectory(prefix="planted-bug-") as folder:
        copy = Path(folder)
        for part in ("service", "tests", "openapi", "pyproject.toml"):
            _copy(_ROOT / part, copy / part)
        source = copy / bug.file
        text = source.read_text(encoding="utf-8")
        if text.count(bug.before) != 1:
            raise SystemExit(f"bug {number}: the code has changed; mend `before` of {bug.name!r}")
        source.write_text(text.replace(bug.before, bug.after), encoding="utf-8")
        tests = _failed_tests(copy, bug)
        seeds = _failed_seeds(copy)
    print(f"{number:2} {bug.name}\n     tests: {tests or '-'}\n     simulation: {seeds or '-'}", flush=True)
    return bool(tests or seeds)


def _failed_tests(copy: Path, bug: Bug) -> str:
    said = _run(copy, "pytest", "-q", "-p", "no:randomly", "--no-header", "--timeout=60", *bug.tests)
    failed = list(dict.fromkeys(_names(said)))
    return f"{len(failed)} fail: {', '.join(failed[:3])}" if failed else ""


def _names(said: str) -> Iterator[str]:
    for line in said.splitlines():
        if found := re.match(r"(?:FAILED|ERROR) (\S+?)(?:\[| - |$)", line):
            yield found[1]


def _failed_seeds(copy: Path) -> str:
    said = _run(copy, "tests.simulation", "--seeds", str(_SEEDS))
    found = re.search(r"(\d+) failed: ([\d, ]+);", said)
    if not found:
        return "" if "0 failed" in said else said.strip().splitlines()[-1][:200]
    reason = re.search(r"Violation: (.*)", said)
    return f"{found[1]} of {_SEEDS} seeds fail ({found[2]}): {reason[1][:110] if reason else 'see there'}"


def _run(copy: Path, *command: str) -> str:
    # A module that is changed within a second of its bytecode could be taken for what it was.
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr[-500:] if done.returncode else done.stdout


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    else:
        shutil.copy(source, target)


if __name__ == "__main__":
    sys.exit(main())
