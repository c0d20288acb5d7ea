"""Values as JSON text and back, as the other modules of this package use them. Knows no database."""

from llmcore.plan.documents import dumps, loads, text

__all__ = ["dumps", "loads", "text"]
