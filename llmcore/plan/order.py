"""What waits for what inside a plan.

Used by catalogue, session and executor; does no I/O.
"""

from collections.abc import Sequence

from llmcore.errors import BadParams
from llmcore.plan.values import Step


def ancestors(steps: Sequence[Step]) -> dict[str, frozenset[str]]:
    """For each step id all steps it waits for, directly or not; BadParams if they wait in a circle."""
    waiting = {step.id: set(step.sources()) for step in steps}
    found: dict[str, frozenset[str]] = {}
    while waiting:
        ready = [step_id for step_id, sources in waiting.items() if sources <= found.keys()]
        if not ready:
            index = next(number for number, step in enumerate(steps) if step.id in waiting)
            names = ", ".join(waiting)
            raise BadParams(
                f"The steps {names} wait for each other.",
                [{"pointer": f"/steps/{index}/needs", "message": "part of a cycle; remove one of the needs"}],
            )
        for step_id in ready:
            direct = waiting.pop(step_id)
            found[step_id] = frozenset(direct.union(*(found[source] for source in direct)))
    return found


def feeding_reads(steps: Sequence[Step]) -> frozenset[str]:
    """Ids of the read steps whose results mutating steps use: they run before anyone is asked (segment 1)."""
    above = ancestors(steps)
    reads = {step.id for step in steps if not step.mutates}
    fed = {source for step in steps if step.mutates for source in above[step.id]}
    return frozenset(step_id for step_id in reads & fed if not any(source not in reads for source in above[step_id]))
