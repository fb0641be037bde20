"""Which trace a training belongs to, so that its polls and deliveries do, too."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trainings", sa.Column("traceparent", sa.String(), nullable=True))
