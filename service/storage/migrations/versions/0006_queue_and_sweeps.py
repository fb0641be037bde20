"""Queues of trainings, sweeps, when a training is expected to be ready, and how often PhotoGPT was called."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _times(table: str, *names: str) -> None:
    for name in names:
        op.add_column(table, sa.Column(name, sa.DateTime(timezone=True), nullable=True))


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def upgrade() -> None:
    _times("tenants", "sweep_after", "queue_due_at", "queue_tried_at")
    op.add_column("tenants", sa.Column("queue_tries", sa.Integer(), nullable=False, server_default=sa.text("0")))
    _partial("ix_tenants_queue", "tenants", ["queue_due_at"], "queue_due_at IS NOT NULL")
    # With a default in the database, so that the release before this one can go on inserting.
    op.add_column("trainings", sa.Column("queues", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("trainings", sa.Column("to_confirm", sa.Boolean(), nullable=False, server_default=sa.false()))
    _times("trainings", "submitted_at", "ready_expected_from", "ready_expected_at", "ready_expected_to")
    _partial("ix_trainings_queue", "trainings", ["tenant_id", "id"], "status = 'queued'")
    op.create_table(
        "call_counts",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "kind"),
    )
