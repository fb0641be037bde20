"""A database as it is after a year, with any number of deliveries: made by SQL alone, row by row would take too long.

Each training has one event, one callback, and four deliveries of that event: to the callback, and to three webhook
endpoints of its tenant. `whe_a_1` has had nearly everything, `whe_a_2` fails for the last third of the time, `whe_a_3`
is paused at the end. Nine in ten trainings belong to `ten_a`, the others to `ten_b`.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from service.domain import ids

PER_TRAINING = 4
# A training's place in time is four digits of its ids, which sort by time as real ones do: the other digits are those
# of BEGAN before them, and zeros behind.
_PLACES = 32**4
_STEP = timedelta(milliseconds=32**3)
BEGAN = datetime(2025, 7, 12, 18, 57, 36, 768_000, tzinfo=UTC)
END = BEGAN + _PLACES * _STEP

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_TIMES = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', {seconds}, 'unixepoch') || '000'",
    "postgresql": "to_timestamp({seconds})",
}
_SERIES = "WITH RECURSIVE series(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM series WHERE n + 1 < {trainings}),"
_MADE = """ made AS (SELECT n, {place} AS place, {time} AS at,
  CASE WHEN n % 10 = 9 THEN 'b' ELSE 'a' END AS owner FROM series)"""
_SENT = """, sent AS (SELECT made.*, k FROM made
  CROSS JOIN (SELECT 0 AS k UNION SELECT 1 UNION SELECT 2 UNION SELECT 3) AS targets)"""
# What became of delivery k of training n. Beside what the docstring says: one in fifty callbacks was never reached,
# the last ones are due now, half of them at a dead host, and a few old ones are held for ever.
_STATUS = """CASE
  WHEN k = 0 THEN CASE WHEN n >= {last} THEN 'pending' WHEN n % 50 = 0 THEN 'dead' ELSE 'delivered' END
  WHEN k = 1 THEN CASE WHEN n % 100 = 0 THEN 'dead' ELSE 'delivered' END
  WHEN k = 2 THEN CASE WHEN n >= {last} THEN 'pending' WHEN n * 3 >= {trainings} * 2 THEN 'dead' ELSE 'delivered' END
  ELSE CASE WHEN n % 1000 = 0 OR n >= {paused} THEN 'pending' ELSE 'delivered' END
END"""
_STATEMENTS = [
    """INSERT INTO trainings (id, tenant_id, model_id, status, left_baseline, overdue, suspended, not_found_count,
      key_refused_count, readings, caller_metadata, sequence, created_at, finished_at, due_at, fence)
      SELECT 'trn' || place, 'ten_' || owner, 'model_' || n, 'training', true, false, false, 0, 0, 1, '{{}}', 1, at,
      CASE WHEN n < {last} THEN at END, CASE WHEN n >= {last} THEN at END, 0 FROM made""",
    """INSERT INTO callbacks (id, tenant_id, training_id, url, events, created_at)
      SELECT 'cbk' || place, 'ten_' || owner, 'trn' || place, 'https://receiver.example/', '["training.ready"]', at
      FROM made""",
    """INSERT INTO events (id, tenant_id, training_id, type, sequence, position, terminal, body, created_at)
      SELECT 'evt' || place, 'ten_' || owner, 'trn' || place,
      CASE WHEN n % 100 = 0 THEN 'training.failed' ELSE 'training.ready' END, 1, n + 1, true, {body}, at FROM made""",
    """INSERT INTO deliveries (id, tenant_id, event_id, training_id, callback_id, endpoint_id, event_type, sequence,
      host, status, attempts_made, attempts_started, created_at, finished_at, due_at, give_up_at, fence)
      SELECT substr('dlv' || place, 1, 29) || k, 'ten_' || owner, 'evt' || place, 'trn' || place,
      CASE WHEN k = 0 THEN 'cbk' || place END, CASE WHEN k > 0 THEN 'whe_' || owner || '_' || k END, 'training.ready',
      1, CASE WHEN k > 0 THEN 'whe-' || owner || k || '.example:443' WHEN n % 2 = 0 THEN 'dead.example:443'
      ELSE 'receiver-' || (n % 1000) || '.example:443' END,
      {status}, 1, 1, at, CASE WHEN {status} <> 'pending' THEN at END,
      CASE WHEN {status} = 'pending' AND k <> 3 THEN at END, at, 1 FROM sent""",
    """INSERT INTO attempts (id, delivery_id, number, started_at, duration_ms, excerpt)
      SELECT substr('att' || place, 1, 29) || k, substr('dlv' || place, 1, 29) || k, 1, at, 5, '' FROM sent""",
    """INSERT INTO idempotency_keys (tenant_id, key, fingerprint, training_id, created_at)
      SELECT 'ten_' || owner, 'key-' || n, 'fingerprint', 'trn' || place, at FROM made WHERE n % 10 = 0""",
]


def id_of(prefix: str, training: int, trainings: int) -> str:
    """The id of what belongs to that one of so many trainings; a delivery's ends with its number instead of 0."""
    return ids.first_id(prefix, BEGAN + training * (_PLACES // trainings) * _STEP)


def fill(connection: Connection, deliveries: int) -> None:
    """Fill an empty database, in which the tenants `ten_a` and `ten_b` and their endpoints are."""
    trainings = deliveries // PER_TRAINING
    stride = _PLACES // trainings
    head = ids.first_id("", BEGAN)[:4]
    digits = "".join(f" || substr('{_DIGITS}', n * {stride} / {32**power} % 32 + 1, 1)" for power in (3, 2, 1, 0))
    sqlite = connection.dialect.name == "sqlite"
    seconds = f"{BEGAN.timestamp()!r} + n * {stride * _STEP.total_seconds()!r}"
    parts = {
        "trainings": trainings,
        "last": trainings * 99 // 100,
        "paused": trainings * 95 // 100,
        "place": f"'{head}'{digits} || '{'0' * 19}'",
        "time": _TIMES[connection.dialect.name].format(seconds=seconds),
        "body": "CAST('{}' AS BLOB)" if sqlite else "CAST('{}' AS BYTEA)",
    }
    parts["status"] = _STATUS.format(**parts)
    made = (_SERIES + _MADE).format(**parts)
    for statement in _STATEMENTS:
        insert, _, select = statement.format(**parts).partition("SELECT ")
        series = made + (_SENT if select.endswith("FROM sent") else "")
        connection.exec_driver_sql(f"{series} {insert} SELECT {select}")
    connection.exec_driver_sql(f"UPDATE tenants SET event_position = {trainings}")
