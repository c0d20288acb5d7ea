"""The words of a plan: values, order, references, JSON and the digest that an approval is bound to.

Used by every room that touches plans. Knows no model, no clock and does no I/O.
"""

from llmcore.plan.codec import digest, plan_from_json, plan_json, principal_json, step_from_json, step_json
from llmcore.plan.conditions import condition_sources, holds, renamed_sources
from llmcore.plan.diff import step_diff
from llmcore.plan.order import ancestors, feeding_reads
from llmcore.plan.references import is_reference, references, renamed_references
from llmcore.plan.seal import genuine, seal
from llmcore.plan.shapes import (
    RawStep,
    Shape,
    Values,
    fill,
    generalise,
    is_placeholder,
    placeholders,
    tokens,
    written,
)
from llmcore.plan.values import (
    DEFAULT_TIMEOUT_S,
    EVERYBODY,
    MAX_STEPS,
    TERMINAL,
    Approval,
    Decision,
    Edit,
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
    "EVERYBODY",
    "MAX_STEPS",
    "TERMINAL",
    "Approval",
    "Decision",
    "Edit",
    "Effect",
    "OnError",
    "Origin",
    "Plan",
    "PlanStatus",
    "Preview",
    "Principal",
    "RawStep",
    "Shape",
    "Step",
    "StepResult",
    "StepState",
    "Undo",
    "Values",
    "Verdict",
    "Vote",
    "ancestors",
    "condition_sources",
    "digest",
    "feeding_reads",
    "fill",
    "generalise",
    "genuine",
    "holds",
    "is_placeholder",
    "is_reference",
    "placeholders",
    "plan_from_json",
    "plan_json",
    "principal_json",
    "references",
    "renamed_references",
    "renamed_sources",
    "seal",
    "step_diff",
    "step_from_json",
    "step_json",
    "tokens",
    "written",
]
