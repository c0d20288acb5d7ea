"""Runs an approved plan: step by step, in parallel where nothing waits, every attempt journaled before it acts.

Called by session. Knows neither the model nor the user's words. What runs is what was approved: params are literal or
references to results of earlier steps; before each step policy is asked again and what it would touch is looked at
again, and a step that may or may not have happened is called `unknown` and never repeated without a person.
"""

from llmcore.executor.core import Executor, ExecutorOptions
from llmcore.executor.journal import INLINE, RETRY, Journal, as_it_runs, as_journaled, refused_json
from llmcore.executor.refusals import Fenced, Leaving, Stopped
from llmcore.executor.resolving import resolve
from llmcore.executor.values import StepBegan, StepEnded, StepEvent, StepHeld, StepProgress

__all__ = [
    "INLINE",
    "RETRY",
    "Executor",
    "ExecutorOptions",
    "Fenced",
    "Journal",
    "Leaving",
    "StepBegan",
    "StepEnded",
    "StepEvent",
    "StepHeld",
    "StepProgress",
    "Stopped",
    "as_it_runs",
    "as_journaled",
    "refused_json",
    "resolve",
]
