"""Why a segment ends although nothing in it went wrong.

Raised by the executor, handled at the turn boundary; nobody else sees them.
"""

from llmcore.errors import Conflict, Unavailable


class Fenced(Conflict):
    """Another node has taken the run: this one tells nothing more of it."""

    def __init__(self, run_id: str) -> None:
        """Name the run."""
        super().__init__("Another node has taken this run.", run_id=run_id)


class Leaving(Unavailable):
    """This process stops: another one goes on after the steps that have ended."""

    def __init__(self, run_id: str) -> None:
        """Name the run."""
        super().__init__("This node stops; the run goes on elsewhere or after its start.", run_id=run_id)


class Stopped(Conflict):
    """All runs were ordered to stop."""
