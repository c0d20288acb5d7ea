"""Rules besides the policy file: those that hold whatever it says, and those that an admin approved for a while.

Used by `cedar` and `judge`, and by the adapter that keeps standing rules. A standing rule only permits, and a permit
never beats a forbid: no text in a file is weakened by one.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from llmcore.policy.schema import KINDS, quoted

ALLOW = "allow_from_now_on"
WITHDRAW = "withdraw_rule"
"""The hidden intents that make and end a standing rule."""

TAINTED = """
@id("tainted-needs-person")
@reason("The plan was made from untrusted text, so nothing in it changes anything without a person.")
forbid (principal, action in [Action::"write", Action::"destructive"], resource)
when { context.tainted && context.approvals < 1 };
"""
_NEEDS_ADMIN = f"""
@id("standing-rule-needs-admin")
@reason("A rule that allows something from now on needs an admin's approval.")
@approvers("1")
@role("admin")
forbid (principal, action == Action::"{ALLOW}", resource)
when {{ context.approvals < 1 }};
"""


def always(intents: Mapping[str, Any]) -> str:
    """The rules that hold under every policy of a host with these intents."""
    return TAINTED + (_NEEDS_ADMIN if ALLOW in intents else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingRule:
    """One intent on one target without asking, for one role, until a moment."""

    rule_id: str
    intent: str
    target: str
    role: str
    expires_at: float
    """Epoch seconds."""
    created_at: float
    by: str
    """Who asked for it; an admin approved."""
    kind: str = "user"
    """Kind of principal that it is for."""
    plan_id: str = ""
    """The plan that made somebody ask for it."""

    def cedar(self) -> str:
        """The rule as Cedar; it ends by itself."""
        reason = f"Allowed from now on, as {self.by} asked and an admin approved."
        return (
            f"@id({quoted(self.rule_id)})\n"
            f"@reason({quoted(reason)})\n"
            f"permit (principal is {KINDS[self.kind]} in Role::{quoted(self.role)},"
            f" action == Action::{quoted(self.intent)}, resource == Target::{quoted(self.target)})\n"
            f"when {{ context.now < {int(self.expires_at)} }};"
        )

    def json(self) -> dict[str, Any]:
        """What is stored; `of` reads it back."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "StandingRule":
        """A stored rule; what a newer version has added to it is left out."""
        return cls(**{field.name: document[field.name] for field in fields(cls) if field.name in document})
