"""How Alembic runs our migrations: on the connection it is given, in that connection's transaction.

There is no offline mode and no address of its own, so that nothing can migrate a file without the
lock and the checks of `storage.migrate`.
"""

from alembic import context

from storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
