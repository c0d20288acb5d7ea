"""Entry of Alembic: run the changes on the connection that was handed over, in its transaction."""

from alembic import context

from llmcore.adapters.sql.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
