"""What can be asked of the audit trail.

Passed through the `Store` port.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """What a record has to fulfil; whatever is empty does not matter."""

    actor: str = ""
    """Name of who acted."""
    actor_kind: str = ""
    """`user`, `agent`, `node` or `service`."""
    action: str = ""
    """An action, or how it begins and `*`: `plan.*`."""
    plan_id: str = ""
    run_id: str = ""
    since: str = ""
    """The first moment that counts, as records write it (`rfc3339`)."""
    until: str = ""
    """The first moment that does not count any more."""
    text: str = ""
    """Words that the record holds somewhere, in upper or lower case."""
