"""What may begin while the disk under the store is full.

Used by the flow and its segments before anything new is promised; the executor asks the store again before each step.
"""

from llmcore.catalog import Catalog
from llmcore.plan import Plan
from llmcore.ports import Store


def admit(plan: Plan, catalog: Catalog, store: Store) -> None:
    """Raise Unavailable while the disk is full, unless every step of the plan frees space."""
    store.admit(frees_space=all(catalog.get(step.intent).frees_space for step in plan.steps))
