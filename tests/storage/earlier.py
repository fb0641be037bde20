"""Databases as earlier releases left them: at any revision, with rows in every table that it had.

The rows are given once, with all columns of today; what a revision did not have is left out.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, create_engine, insert

from service.domain.delivery import DeliveryStatus
from service.storage import migrations

Rows = dict[str, list[dict[str, Any]]]

# With a fraction of a second, which a conversion might lose.
THEN = datetime(2026, 2, 1, 10, 30, 15, 123_456, tzinfo=UTC)
URLS = {
    "cbk_0": "https://receiver.example/hook?a=https://x:1/",
    "cbk_1": "https://receiver.example:8443/",
    "cbk_2": "https://[2001:db8::1]/hook",
    "cbk_3": "https://[2001:db8::1]:8443/hook",
    "cbk_4": "http://127.0.0.1:3000/hook",
    "cbk_5": "http://localhost/",
}
HOSTS = {
    "cbk_0": "receiver.example:443",
    "cbk_1": "receiver.example:8443",
    "cbk_2": "[2001:db8::1]:443",
    "cbk_3": "[2001:db8::1]:8443",
    "cbk_4": "127.0.0.1:3000",
    "cbk_5": "localhost:80",
}
# Two are watched, of the tenant that has a key, an endpoint, and half of the six that are finished.
WATCHED = {"trn_6": "training", "trn_7": "submitting"}
ENDPOINT, ENDPOINT_HOST = "whe_1", "endpoint.example:443"
# Kept in every table but these; and of these none is in the way of the others.
_NOT_OURS = "alembic_version"
_FOLDER = Path(migrations.__file__).parent


def at(minutes: int) -> datetime:
    return THEN + timedelta(minutes=minutes)


def revisions() -> list[str]:
    """All there are, oldest first."""
    return sorted(script.revision for script in ScriptDirectory(str(_FOLDER)).walk_revisions())


def schema_of(revision: str) -> MetaData:
    """As its own migrations make it; on SQLite, which is there at once."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        migrations.upgrade(connection, revision)
        found = tables_in(connection)
    engine.dispose()
    return found


def tables_in(connection: Connection) -> MetaData:
    found = MetaData()
    found.reflect(connection)
    found.remove(found.tables[_NOT_OURS])
    return found


def leave(connection: Connection, revision: str) -> None:
    """Bring an empty database to this revision, with rows."""
    migrations.upgrade(connection, revision)
    write(connection, tables_in(connection), tables_in(connection))


def write(connection: Connection, tables: MetaData, known: MetaData) -> None:
    """Store all rows in `tables`, by code that has only the tables and columns of `known`."""
    for table in tables.sorted_tables:
        if table.name in known.tables:
            for row in rows_of(known.tables[table.name], endpoints=ENDPOINT_TABLE in known.tables):
                connection.execute(insert(table), row)


ENDPOINT_TABLE = "webhook_endpoints"


def rows_of(table: Table, *, endpoints: bool) -> Sequence[dict[str, Any]]:
    """What code that knows these columns would store in them."""
    found = rows()[table.name] + (rows_of_endpoints().get(table.name, []) if endpoints else [])
    return [{name: value for name, value in row.items() if name in table.columns} for row in found]


def rows() -> Rows:
    """Two tenants with three finished trainings each, in turn; of each a first and a last event, a callback, two
    deliveries; and those that are watched.
    """
    found: Rows = {
        "tenants": [_tenant(name) for name in "abc"],
        "heartbeats": [{"id": 1, "at": THEN}],
        "idempotency_keys": [
            {
                "tenant_id": "ten_a",
                "key": "k",
                "fingerprint": "f",
                "training_id": "trn_0",
                "outcome": {"id": 1},
                "created_at": THEN,
            }
        ],
        "trainings": [],
        "callbacks": [],
        "events": [],
        "deliveries": [],
        "attempts": [],
        "keysets": [{"id": 1, "sealed": b"keyset", "created_at": THEN, "sealed_at": at(1)}],
        "call_counts": [{"day": date(2026, 2, 1), "kind": "poll", "count": 5}],
        "moves": [_move()],
        ENDPOINT_TABLE: [],
        "recoveries": [],
    }
    for number in range(6):
        _finished(found, number)
    for number, (training, status) in enumerate(WATCHED.items(), start=6):
        found["trainings"].append(_training(number, status))
        found["callbacks"].append(_callback(number, f"https://receiver.example/{training}"))
    return found


def rows_of_endpoints() -> Rows:
    """What came with the endpoints: one, a delivery to it, a training's end among others, and a recovery."""
    training = {"tenant_id": "ten_a", "training_id": "trn_0", "created_at": at(0)}
    return {
        ENDPOINT_TABLE: [
            {
                "id": ENDPOINT,
                "tenant_id": "ten_a",
                "url": f"https://{ENDPOINT_HOST.removesuffix(':443')}/hook",
                "events": ["training.ready"],
                "description": "shop",
                "caller_metadata": {"team": "x"},
                "header_names": ["authorization"],
                "sealed_headers": b"headers",
                "sealed_secret": b"secret",
                "sealed_previous_secret": b"before",
                "previous_secret_until": at(5),
                "retry_schedule": [0, 5.5],
                "status": "active",
                "failing_since": at(1),
                "last_problem": "busy",
                "created_at": THEN,
                "updated_at": at(2),
            }
        ],
        "deliveries": [
            {
                **_delivery(training, "evt_02", sequence=2, status=DeliveryStatus.PENDING, number=0),
                "id": "dlv_e",
                "endpoint_id": ENDPOINT,
                "host": ENDPOINT_HOST,
            }
        ],
        "recoveries": [
            {
                "id": "rec_1",
                "tenant_id": "ten_a",
                "endpoint_id": ENDPOINT,
                "since": at(-60),
                "until": THEN,
                "total": 3,
                "resent": 1,
                "after": "dlv_01",
                "created_at": THEN,
            }
        ],
    }


def _tenant(name: str) -> dict[str, Any]:
    return {
        "id": f"ten_{name}",
        "sealed_key": b"key",
        "sealed_signing_secret": b"secret",
        "sealed_previous_secret": b"before",
        "previous_secret_until": at(5),
        "polls_paused_until": at(1),
        "sweep_after": at(2),
        "queue_due_at": at(3),
        "queue_tried_at": at(2),
        "queue_tries": 2,
        "event_position": {"a": 6, "b": 6, "c": 0}[name],
        "created_at": THEN,
    }


def _move() -> dict[str, Any]:
    ended = {"began_at": THEN, "ended_at": at(1)}
    return {"id": 1, "name": "m", "state": "complete", "other": "file", "copied": {"events": 1}, "batches": 3, **ended}


def _training(number: int, status: str) -> dict[str, Any]:
    watched = f"trn_{number}" in WATCHED
    return {
        "id": f"trn_{number}",
        "tenant_id": "ten_a" if watched else f"ten_{'ab'[number % 2]}",
        "model_id": f"model_{number}",
        "status": status,
        "upstream_status": "Training",
        "baseline_status": "New",
        "baseline_updated_at": "2026-02-01T10:00:00.000Z",
        **dict.fromkeys(("left_baseline", "overdue", "suspended", "expiring", "queues", "to_confirm"), False),
        **dict.fromkeys(("not_found_count", "key_refused_count", "readings"), 0),
        "caller_metadata": {"order": 7},
        "sequence": 0 if watched else 2,
        "created_at": at(number),
        "submitted_at": at(number),
        "triggered_at": at(number) if status != "submitting" else None,
        "ready_expected_from": at(number + 20),
        "ready_expected_at": at(number + 22),
        "ready_expected_to": at(number + 25),
        "last_polled_at": at(number),
        "finished_at": None if watched else at(number),
        "due_at": at(number + 5) if watched else None,
        "fence": 3,
    }


def _callback(number: int, url: str) -> dict[str, Any]:
    training = _training(number, "ready")
    return {
        "id": f"cbk_{number}",
        "tenant_id": training["tenant_id"],
        "training_id": training["id"],
        "url": url,
        "events": ["training.ready", "training.started"],
        "sealed_secret": b"secret",
        "sealed_headers": b"headers",
        "created_at": at(number),
        "last_problem": "busy",
    }


def _finished(found: Rows, number: int) -> None:
    callback = f"cbk_{number}"
    found["trainings"].append(_training(number, "ready"))
    found["callbacks"].append(_callback(number, URLS[callback]))
    of_training = {name: found["callbacks"][-1][name] for name in ("tenant_id", "training_id", "created_at")}
    for sequence, kind in ((1, "training.started"), (2, "training.ready")):
        event = f"evt_{number}{sequence}"
        found["events"].append(
            {
                **of_training,
                "id": event,
                "type": kind,
                "sequence": sequence,
                "position": 2 * (number // 2) + sequence,
                "terminal": sequence == 2,
                "body": event.encode(),
            }
        )
        status = list(DeliveryStatus)[(2 * number + sequence) % 3]
        delivery = _delivery(of_training, event, sequence=sequence, status=status, number=number)
        found["deliveries"].append({**delivery, "callback_id": callback, "host": HOSTS[callback], "event_type": kind})
        found["attempts"].append(
            {"id": f"att_{number}{sequence}", "delivery_id": delivery["id"], "number": 1, "started_at": at(number)}
            | {"duration_ms": 5, "status_code": 503, "error_class": "http_5xx", "excerpt": "busy"}
        )


def _delivery(
    of_training: dict[str, Any], event: str, *, sequence: int, status: DeliveryStatus, number: int
) -> dict[str, Any]:
    pending = status is DeliveryStatus.PENDING
    return {
        **of_training,
        "id": event.replace("evt", "dlv"),
        "event_id": event,
        "event_type": "training.ready",
        "sequence": sequence,
        "status": str(status),
        "attempts_made": 1,
        "attempts_started": 1,
        "finished_at": None if pending else at(number),
        "due_at": at(number) if pending else None,
        "give_up_at": of_training["created_at"] + timedelta(days=5),
        "fence": 3,
    }
