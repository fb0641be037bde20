"""Webhook endpoints beside callbacks, events in the order of their commits, recoveries."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _partial(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    op.create_index(name, table, columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def upgrade() -> None:
    op.add_column("tenants", sa.Column("sealed_previous_secret", sa.LargeBinary(), nullable=True))
    op.add_column("tenants", sa.Column("previous_secret_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("tenants", sa.Column("event_position", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    op.add_column("callbacks", sa.Column("sealed_headers", sa.LargeBinary(), nullable=True))
    _partial("ix_trainings_finished", "trainings", ["finished_at"], "finished_at IS NOT NULL")
    _endpoints()
    _events()
    _deliveries()
    with op.batch_alter_table("idempotency_keys") as keys:
        keys.alter_column("training_id", existing_type=sa.String(), nullable=True)
    op.create_index("ix_idempotency_keys_created", "idempotency_keys", ["created_at"])


def _endpoints() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("caller_metadata", sa.JSON(), nullable=False),
        sa.Column("header_names", sa.JSON(), nullable=False),
        sa.Column("sealed_headers", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_previous_secret", sa.LargeBinary(), nullable=True),
        sa.Column("previous_secret_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retry_schedule", sa.JSON(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("disabled_reason", sa.String(), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_problem", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    _partial("ix_webhook_endpoints_tenant", "webhook_endpoints", ["tenant_id", "id"], "deleted_at IS NULL")
    op.create_table(
        "recoveries",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("endpoint_id", sa.String(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("resent", sa.Integer(), nullable=False),
        sa.Column("after", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["endpoint_id"], ["webhook_endpoints.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    _partial("ix_recoveries_running", "recoveries", ["id"], "finished_at IS NULL")
    op.create_index("ix_recoveries_endpoint", "recoveries", ["endpoint_id", "id"])


def _events() -> None:
    """Number what is there by its ids, which sort by time."""
    op.add_column("events", sa.Column("position", sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE events SET position = numbered.position FROM"
        " (SELECT id, row_number() OVER (PARTITION BY tenant_id ORDER BY id) AS position FROM events) AS numbered"
        " WHERE numbered.id = events.id"
    )
    op.execute("UPDATE tenants SET event_position = (SELECT count(*) FROM events WHERE events.tenant_id = tenants.id)")
    with op.batch_alter_table("events") as events:
        events.alter_column("position", existing_type=sa.BigInteger(), nullable=False)
        events.alter_column("training_id", existing_type=sa.String(), nullable=True)
    op.create_index("uq_events_position", "events", ["tenant_id", "position"], unique=True)
    _partial("ix_events_of_endpoints", "events", ["created_at"], "training_id IS NULL")


def _deliveries() -> None:
    op.add_column("deliveries", sa.Column("host", sa.String(), nullable=True))
    op.add_column("deliveries", sa.Column("give_up_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("deliveries", sa.Column("endpoint_id", sa.String(), nullable=True))
    _hosts(op.get_bind())
    _deadlines(op.get_bind())
    for index in ("uq_deliveries_target", "ix_deliveries_order", "ix_deliveries_due"):
        op.drop_index(index, "deliveries")
    with op.batch_alter_table("deliveries") as deliveries:
        deliveries.alter_column("host", existing_type=sa.String(), nullable=False)
        deliveries.alter_column("give_up_at", existing_type=sa.DateTime(timezone=True), nullable=False)
        deliveries.alter_column("training_id", existing_type=sa.String(), nullable=True)
        deliveries.alter_column("callback_id", existing_type=sa.String(), nullable=True)
        deliveries.create_foreign_key("deliveries_endpoint_id_fkey", "webhook_endpoints", ["endpoint_id"], ["id"])
    op.create_index("uq_deliveries_callback", "deliveries", ["event_id", "callback_id"], unique=True)
    _partial("ix_deliveries_callback", "deliveries", ["callback_id"], "callback_id IS NOT NULL")
    _partial(
        "uq_deliveries_endpoint", "deliveries", ["event_id", "endpoint_id"], "endpoint_id IS NOT NULL", unique=True
    )
    _partial("ix_deliveries_due", "deliveries", ["due_at", "host"], "due_at IS NOT NULL")
    _partial("ix_deliveries_endpoint", "deliveries", ["endpoint_id", "id"], "endpoint_id IS NOT NULL")
    _partial("ix_deliveries_endpoint_status", "deliveries", ["endpoint_id", "status", "id"], "endpoint_id IS NOT NULL")
    op.create_index("ix_deliveries_status", "deliveries", ["tenant_id", "status", "id"])


def _hosts(connection: sa.Connection) -> None:
    """The host and port of each callback's URL, which is canonical: `scheme://host[:port]/...`.

    While there still is an index of the deliveries by callback.
    """
    found = []
    for callback_id, url in connection.execute(sa.text("SELECT id, url FROM callbacks")).all():
        scheme, _, rest = url.partition("://")
        authority = rest.partition("/")[0]
        named = authority.rpartition("]")[2] if authority.startswith("[") else authority
        host = authority if ":" in named else f"{authority}:{443 if scheme == 'https' else 80}"
        found.append({"host": host, "callback": callback_id})
    if found:
        connection.execute(sa.text("UPDATE deliveries SET host = :host WHERE callback_id = :callback"), found)


def _deadlines(connection: sa.Connection) -> None:
    """In the same form as other times: SQLite has no type for them, and `datetime` would drop the microseconds."""
    later = "created_at + interval '5 days'"
    if connection.dialect.name == "sqlite":
        later = "datetime(created_at, '+5 days') || substr(created_at, 20)"
    connection.execute(sa.text(f"UPDATE deliveries SET give_up_at = {later}"))  # noqa: S608  # one of two literals
