"""Templates: plans with params, saved by people or bundled, run again by name or by the words of their examples.

Called by api (save, list, show, run, delete) and, through a function that it is handed, by session (words of a chat).
Knows the store, the catalogue and the audit trail; no transport, no planner, and nothing of how a plan is decided and
run: what a template gives is raw steps that go the way of every other plan.
"""

from llmcore.templates.checks import bundled_template
from llmcore.templates.room import Templates
from llmcore.templates.texts import Texts
from llmcore.templates.values import EXAMPLES_SCHEMA, NAME_SCHEMA, PARAMS_SCHEMA, Filled, Template

__all__ = [
    "EXAMPLES_SCHEMA",
    "NAME_SCHEMA",
    "PARAMS_SCHEMA",
    "Filled",
    "Template",
    "Templates",
    "Texts",
    "bundled_template",
]
