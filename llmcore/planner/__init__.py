"""From words to a draft of a plan: text, visible catalogue and context in, plan, question, answer or none out.

Called by `session` and the commands `plan` and `eval`. Knows no policy, approval, execution or sockets. Nothing here
acts: a draft is data that others check, show and run.
"""

from llmcore.planner.core import Planner
from llmcore.planner.values import Draft, DraftStep, Finding, PlannerOptions, PlanRequest, Score, template_draft

__all__ = ["Draft", "DraftStep", "Finding", "PlanRequest", "Planner", "PlannerOptions", "Score", "template_draft"]
