"""Where a tenant's suspended trainings are found, without going through all that it ever had."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_trainings_suspended",
        "trainings",
        ["tenant_id"],
        sqlite_where=sa.text("suspended = 1"),
        postgresql_where=sa.text("suspended"),
    )
