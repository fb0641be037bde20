"""Which trace a training belongs to, so that its polls and deliveries do, too."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trainings", sa.Column("traceparent", sa.String(), nullable=True))
