"""What a claim of deliveries passes over, now also for its tenant's sake, inside the index."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    due = sa.text("due_at IS NOT NULL")
    op.drop_index("ix_deliveries_due", "deliveries")
    op.create_index(
        "ix_deliveries_due", "deliveries", ["due_at", "host", "tenant_id"], sqlite_where=due, postgresql_where=due
    )
