"""Policy: may this principal take this step, now, with these facts? Allow, ask people, or deny, and why.

Called by session, api and executor before anything runs and again before every step. Pure: facts in, verdict out; knows
no models, no sessions, and does no I/O; the clock is handed in.
"""

from llmcore.policy.cedar import Policy, load
from llmcore.policy.compiled import compile_short
from llmcore.policy.facts import Facts, PolicyError, types_of_attributes
from llmcore.policy.judge import Judge, approval_of, stricter, targets_of
from llmcore.policy.schema import schema_of
from llmcore.policy.short import Site
from llmcore.policy.standing import ALLOW, WITHDRAW, StandingRule

__all__ = [
    "ALLOW",
    "WITHDRAW",
    "Facts",
    "Judge",
    "Policy",
    "PolicyError",
    "Site",
    "StandingRule",
    "approval_of",
    "compile_short",
    "load",
    "schema_of",
    "stricter",
    "targets_of",
    "types_of_attributes",
]
