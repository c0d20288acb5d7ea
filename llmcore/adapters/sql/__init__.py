"""The store on SQLite or PostgreSQL.

Opened in `app` (`open_store`); checked and written out without a server by `llmcore audit` (`verify_file`,
`export_file`). Knows the records of the port, not what they mean.
"""

from llmcore.adapters.sql.base import Space, StoreOptions
from llmcore.adapters.sql.store import SqlStore, open_store
from llmcore.adapters.sql.verify import STORE_NAME, export_file, verify_file

__all__ = ["STORE_NAME", "Space", "SqlStore", "StoreOptions", "export_file", "open_store", "verify_file"]
