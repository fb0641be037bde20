"""Alembic's entry: run the versions on the connection that `migrate` gives, inside its transaction."""

from alembic import context
from sqlmodel import SQLModel

from service.storage import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    # SQLite can roll back DDL; the transaction, lock included, belongs to `migrate`.
    transactional_ddl=True,
    render_as_batch=True,
)
assert tables  # its import fills the metadata
context.run_migrations()
