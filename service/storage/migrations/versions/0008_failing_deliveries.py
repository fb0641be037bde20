"""Where the operator's page finds, host by host, the deliveries that do not arrive."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    failing = sa.text("status = 'dead' OR (status = 'pending' AND attempts_made > 0)")
    op.create_index(
        "ix_deliveries_failing", "deliveries", ["host", "id"], sqlite_where=failing, postgresql_where=failing
    )
