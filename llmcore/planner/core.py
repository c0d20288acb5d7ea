"""The order of planning: the cheapest that is sure first, else the honest "cannot".

The very words of an intent's example, a template, the local matcher, what a model said to words of the same shape, a
model. Called by `session` and the eval command through `llmcore.planner`. Knows no policy, no approval and no socket.
"""

from collections.abc import Hashable, Sequence
from copy import copy
from dataclasses import replace

from llmcore.catalog import Catalog
from llmcore.errors import ProviderError, TimedOut, Unavailable
from llmcore.planner.cache import PlanCache
from llmcore.planner.local import LocalPlanner, names_of
from llmcore.planner.model import ModelPlanner
from llmcore.planner.values import Draft, Finding, PlannerOptions, PlanRequest, Score
from llmcore.ports import Model


class Planner:
    """Turns a request into a draft. Safe to share; only what it remembers of models' plans changes."""

    def __init__(self, catalog: Catalog, model: Model | None, options: PlannerOptions | None = None) -> None:
        """Learn the catalogue; `model` None plans locally only."""
        self._catalog = catalog
        self._options = options or PlannerOptions()
        self._local = LocalPlanner(catalog, self._options)
        self._cache = PlanCache(catalog, self._local.reader.index.lexer)
        self._put(model)

    @classmethod
    def over(cls, other: "Planner", model: Model | None) -> "Planner":
        """A planner with another model that shares what `other` has learned and remembers."""
        made = copy(other)
        made._put(model)
        return made

    def _put(self, model: Model | None) -> None:
        self._model = model
        self._remote = None if model is None else ModelPlanner(self._catalog, self._local.reader, model, self._options)

    async def plan(self, request: PlanRequest) -> Draft:
        """What the request means. A model that fails gives the local answer with the reason; cancellation passes."""
        draft = self._local.plan(request)
        if request.template is not None and not (draft.kind == "plan" and self._local.exact(request)):
            return request.template
        if draft.answered_by is not None or not request.text.strip() or not request.visible:
            return draft
        return await self._from_model(request, draft)

    async def _from_model(self, request: PlanRequest, draft: Draft) -> Draft:
        """What a model says, or has said; `draft` is the local answer."""
        if self._remote is None or self._model is None:
            return draft
        scope, names = self._scope(request), names_of(request.vocabulary)
        known = self._cache.get(scope, request.text, names) if scope is not None and request.pending is None else None
        recalled = self._remote.recalled(known, request) if known else None
        if recalled is not None:
            return recalled
        if not self._model.available:
            return draft
        try:
            said = await self._remote.plan(request)
        except (ProviderError, TimedOut, Unavailable) as error:
            return replace(draft, text=f"{draft.text} (The model could not be asked: {error.message})".strip())
        alone = not request.history and request.pending is None
        whole = said.kind == "plan" and not said.more  # what results decide cannot be remembered
        if scope is not None and whole and alone and not said.tainted:
            self._cache.put(scope, request.text, said.steps, names)
        return said

    async def further(self, request: PlanRequest, findings: Sequence[Finding]) -> Draft:
        """What is to be done after these results; a model that cannot be asked leaves it at them (`answer`)."""
        if self._remote is None or self._model is None or not self._model.available:
            return Draft(kind="answer")
        try:
            return await self._remote.further(request, findings)
        except (ProviderError, TimedOut, Unavailable):
            return Draft(kind="answer")

    def _scope(self, request: PlanRequest) -> Hashable | None:
        """What has to be the same for a plan to be the same; None if nothing is to be remembered."""
        if request.setting is None:
            return None
        visible = frozenset(intent.name for intent in request.visible)
        return self._catalog.version, request.principal.role, request.principal.kind, visible, request.setting

    def explain(self, request: PlanRequest) -> list[Score]:
        """How near each intent comes, best first, as the local matcher sees it."""
        return self._local.explain(request)
