"""Policy: may this principal take this step, now, with these facts? Allow, ask people, or deny, and why.

Called by session, api and executor before anything runs and again before every step. Pure: facts in, verdict out; knows
no models, no sessions, and does no I/O.
"""

from llmcore.policy.cedar import Facts, Policy, PolicyError, load, schema_of
from llmcore.policy.judge import Judge, approval_of, stricter

__all__ = ["Facts", "Judge", "Policy", "PolicyError", "approval_of", "load", "schema_of", "stricter"]
