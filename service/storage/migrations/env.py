"""Alembic's entry: run the versions on the connection that `migrate` gives, inside its transaction."""

from alembic import context

from service.storage.tables import Training

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Training.metadata,
    # SQLite can roll back DDL; the transaction, lock included, belongs to `migrate`.
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
