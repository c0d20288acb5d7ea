"""The words of a plan: values, order, references, JSON and the digest that an approval is bound to.

Used by every room that touches plans. Knows no model, no clock and does no I/O.
"""

from llmcore.plan.codec import digest, plan_from_json, plan_json, step_from_json, step_json
from llmcore.plan.order import ancestors, feeding_reads
from llmcore.plan.references import is_reference, references
from llmcore.plan.values import (
    DEFAULT_TIMEOUT_S,
    MAX_STEPS,
    TERMINAL,
    Approval,
    Decision,
    Effect,
    OnError,
    Origin,
    Plan,
    PlanStatus,
    Preview,
    Principal,
    Step,
    StepResult,
    StepState,
    Undo,
    Verdict,
    Vote,
)

__all__ = [
    "DEFAULT_TIMEOUT_S",
    "MAX_STEPS",
    "TERMINAL",
    "Approval",
    "Decision",
    "Effect",
    "OnError",
    "Origin",
    "Plan",
    "PlanStatus",
    "Preview",
    "Principal",
    "Step",
    "StepResult",
    "StepState",
    "Undo",
    "Verdict",
    "Vote",
    "ancestors",
    "digest",
    "feeding_reads",
    "is_reference",
    "plan_from_json",
    "plan_json",
    "references",
    "step_from_json",
    "step_json",
]
