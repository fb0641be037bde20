"""Pauses per key, the second look before a training expires, and the heartbeat."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tenants", sa.Column("polls_paused_until", sa.DateTime(timezone=True), nullable=True))
    # With a default in the database, so that the release before this one can go on inserting.
    op.add_column("trainings", sa.Column("expiring", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "heartbeats",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
