"""A restart that finds a great many models overdue: usable at once, and PhotoGPT is not stormed."""

import sqlite3
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.storage.database import Database
from service.storage.migrations import migrate
from tests.acceptance.history import rows
from tests.acceptance.load import say
from tests.acceptance.stack import Stack
from tests.support.waiting import wait_until_sync

_POLLS = r"/models/overdue-\d+"
# Polls a second: less than this machine can do, so that it is the cap that holds them back; and all it can do where the
# backlog would take too long otherwise.
_RATE, _HIGHEST_RATE = 100.0, 200.0
_LARGE = 10_000
_WINDOW = 3.0
# What the call log shows is when calls arrived: a busy machine holds some back and lets them in together.
_SLACK = 1.0
_SETTINGS = {
    # No model is due a second time within this test.
    "GATEWAY_POLL_INTERVAL": "7200",
    # Single polls are what is counted here.
    "GATEWAY_SWEEP": "false",
}
_UNPOLLED = "SELECT count(*) AS left FROM trainings WHERE last_polled_at IS NULL AND model_id LIKE 'overdue-%'"


@pytest.mark.timeout(1800)
async def test_the_backlog_is_polled_once_each_within_the_cap_while_requests_are_served(
    stack: Stack, campaign: pytest.Config
) -> None:
    count = campaign.getoption("--overdue")
    rate = _RATE if count < _LARGE else _HIGHEST_RATE
    models = stack.models(count, "overdue", status="training", duration_minutes=1_000_000)
    database = Database(f"sqlite:///{stack.database}")
    await migrate(database)
    await database.close()
    empty = seconds_to_ready(stack, rate)
    assert stack.gateway.end() == 0
    store_overdue(stack.database, models)

    full = seconds_to_ready(stack, rate)
    accepted = stack.api.post("/v1/trainings", json={"model_id": stack.models(1, "extra")[0]})
    assert accepted.status_code == 202, accepted.text
    assert stack.call_count(_POLLS) < count, "the backlog was gone before it could be looked at"
    assert stack.is_ready()
    wait_until_sync(lambda: all_polled(stack), what=f"{count} polls", timeout=60 + 3 * count / rate)

    calls = stack.calls(_POLLS)
    assert Counter(call["path"].removeprefix("/models/") for call in calls) == Counter(dict.fromkeys(models, 1))
    highest = most_in_a_window(arrivals(calls))
    # The bucket's burst is a tenth of a second's worth.
    assert highest <= rate * (_WINDOW + _SLACK + 0.1)
    say(
        f"{count} overdue: ready after {full:.1f} s, {full / empty:.1f} times an empty start; "
        f"at most {highest / _WINDOW:.0f} polls/s over {_WINDOW:g} s, the cap is {rate:g}"
    )


def all_polled(stack: Stack) -> bool:
    time.sleep(0.5)  # asking more often would cost more than the polls
    assert stack.is_ready()
    return bool(rows(stack.database, _UNPOLLED)[0]["left"] == 0)


def seconds_to_ready(stack: Stack, rate: float) -> float:
    started_at = time.monotonic()
    stack.start_gateway(**_SETTINGS, GATEWAY_POLLS_PER_SECOND=f"{rate:g}")
    wait_until_sync(stack.is_ready, what="the gateway to be ready", timeout=30)
    return time.monotonic() - started_at


def store_overdue(path: Path, models: Sequence[str]) -> None:
    """As the gateway itself would have left them ten minutes ago; 100,000 in a second."""
    long_ago = (datetime.now(UTC) - timedelta(minutes=10)).replace(tzinfo=None).isoformat(" ")
    same = {
        "tenant_id": "ten_own",
        "status": "training",
        **dict.fromkeys(("left_baseline", "overdue", "suspended", "expiring"), 0),
        **dict.fromkeys(("not_found_count", "key_refused_count", "readings", "sequence", "fence"), 0),
        "caller_metadata": "{}",
        **dict.fromkeys(("created_at", "triggered_at", "due_at"), long_ago),
    }
    columns = ["id", "model_id", *same]
    marks = ", ".join("?" * len(columns))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT OR IGNORE INTO tenants (id, sealed_signing_secret, created_at) VALUES ('ten_own', x'00', ?)",
            (long_ago,),
        )
        connection.executemany(
            f"INSERT INTO trainings ({', '.join(columns)}) VALUES ({marks})",
            ((f"trn_{number:026d}", model, *same.values()) for number, model in enumerate(models)),
        )


def arrivals(calls: Sequence[dict[str, Any]]) -> list[float]:
    return sorted(datetime.fromisoformat(call["at"]).timestamp() for call in calls)


def most_in_a_window(times: Sequence[float]) -> int:
    return max(bisect_left(times, start + _WINDOW) - index for index, start in enumerate(times))
