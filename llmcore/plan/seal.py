"""The seal of a stored plan: proof that this installation wrote it exactly so.

Used by approval alone. Pure functions over a key; the digest says what will run, the seal also who asked for it, who
has approved it, how far it has come, and what was shown of it.
"""

import hashlib
import hmac
from dataclasses import replace

from llmcore.plan.codec import digest, plan_json
from llmcore.plan.documents import dumps, loads
from llmcore.plan.values import Approval, Plan


def seal(plan: Plan, key: bytes) -> Plan:
    """The plan with its seal; one without a digest has nothing yet that anyone could approve, so it gets none."""
    if plan.digest is None:
        return plan
    approval = plan.approval or Approval()
    return replace(plan, approval=replace(approval, seal=_mac(replace(plan, approval=approval), key)))


def genuine(plan: Plan, key: bytes) -> bool:
    """True if the seal is ours and the digest is that of the steps."""
    if plan.approval is None or plan.approval.seal is None or plan.digest is None:
        return False
    return hmac.compare_digest(plan.approval.seal, _mac(plan, key)) and plan.digest == digest(plan)


def _mac(plan: Plan, key: bytes) -> str:
    document = plan_json(plan)
    written = dumps(loads(dumps(document)), canonical=True)  # as it comes back from the store
    return hmac.new(key, written.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
