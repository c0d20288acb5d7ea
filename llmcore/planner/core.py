"""The order of planning: the local matcher where it is sure, else the model, else the honest "cannot".

Called by `session` and the eval command through `llmcore.planner`. Knows no policy, no approval and no socket.
"""

from copy import copy
from dataclasses import replace

from llmcore.catalog import Catalog
from llmcore.errors import ProviderError, TimedOut, Unavailable
from llmcore.planner.local import LocalPlanner
from llmcore.planner.model import ModelPlanner
from llmcore.planner.values import Draft, PlannerOptions, PlanRequest, Score
from llmcore.ports import Model


class Planner:
    """Turns a request into a draft. Immutable; safe to share."""

    def __init__(self, catalog: Catalog, model: Model | None, options: PlannerOptions | None = None) -> None:
        """Learn the catalogue; `model` None plans locally only."""
        self._catalog = catalog
        self._options = options or PlannerOptions()
        self._local = LocalPlanner(catalog, self._options)
        self._put(model)

    @classmethod
    def over(cls, other: "Planner", model: Model | None) -> "Planner":
        """A planner with another model that shares what `other` has learned."""
        made = copy(other)
        made._put(model)
        return made

    def _put(self, model: Model | None) -> None:
        self._model = model
        self._remote = None if model is None else ModelPlanner(self._catalog, self._local.reader, model, self._options)

    async def plan(self, request: PlanRequest) -> Draft:
        """What the request means. A model that fails gives the local answer with the reason; cancellation passes."""
        draft = self._local.plan(request)
        if draft.answered_by is not None or self._remote is None or self._model is None or not self._model.available:
            return draft
        if not request.text.strip() or not request.visible:
            return draft
        try:
            return await self._remote.plan(request)
        except (ProviderError, TimedOut, Unavailable) as error:
            return replace(draft, text=f"{draft.text} (The model could not be asked: {error.message})".strip())

    def explain(self, request: PlanRequest) -> list[Score]:
        """How near each intent comes, best first, as the local matcher sees it."""
        return self._local.explain(request)
