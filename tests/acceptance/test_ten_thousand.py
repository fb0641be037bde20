"""10,000 watched models that are all due at once: by claims and counts, not by time."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from service.domain.training import Status
from service.storage.database import Database, UnitOfWork
from service.storage.migrations import migrate
from service.storage.tables import Tenant, Training
from tests.acceptance.stack import Stack
from tests.support.waiting import wait_until_sync

WATCHED = 10_000
POLLS = r"/models/model-\d+"


async def store_due_trainings(url: str, models: list[str]) -> None:
    """As the gateway itself would have stored them, all of them due."""
    now = datetime.now(UTC)

    def fill(unit: UnitOfWork) -> None:
        unit.session.add(Tenant(id="ten_own", sealed_signing_secret=b"unused", created_at=now))
        unit.session.flush()
        for number, model in enumerate(models):
            unit.session.add(
                Training(
                    id=f"trn_{number:026d}",
                    tenant_id="ten_own",
                    model_id=model,
                    status=Status.TRAINING,
                    created_at=now,
                    triggered_at=now,
                    due_at=now,
                )
            )

    database = Database(url)
    await migrate(database)
    await database.transaction(fill)
    await database.close()


@pytest.mark.timeout(300)
async def test_each_due_model_is_polled_once_and_the_gateway_stays_usable(stack: Stack) -> None:
    models = stack.models(WATCHED, status="training", duration_minutes=100_000)
    await store_due_trainings(f"sqlite:///{stack.folder / 'gateway.db'}", models)

    # Every model is due now, and not again within this test.
    stack.start_gateway(GATEWAY_POLL_INTERVAL="300", GATEWAY_POLLS_IN_FLIGHT="16")
    health = stack.api.get("/readyz")
    accepted = stack.api.post("/v1/trainings", json={"model_id": stack.models(1, "extra")[0]})

    assert (health.status_code, accepted.status_code) == (200, 202)
    wait_until_sync(
        lambda: stack.api.get("/livez").status_code == 200 and stack.call_count(POLLS) >= WATCHED,
        what="10,000 polls",
        timeout=280,
    )
    assert polls(stack) == Counter(dict.fromkeys(models, 1))


def polls(stack: Stack) -> Counter[str]:
    return Counter(call["path"].removeprefix("/models/") for call in stack.calls(POLLS))
