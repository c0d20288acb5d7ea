"""The store on SQLite or PostgreSQL.

Opened in `app` (`open_store`), checked without a server by `llmcore audit verify` (`verify_file`). Knows the records of
the port, not what they mean.
"""

from llmcore.adapters.sql.base import Space, StoreOptions
from llmcore.adapters.sql.store import SqlStore, open_store
from llmcore.adapters.sql.verify import STORE_NAME, verify_file

__all__ = ["STORE_NAME", "Space", "SqlStore", "StoreOptions", "open_store", "verify_file"]
