"""What the commands that need no server share: the settings, and the rooms built as the server builds them.

Used by those commands.
"""

from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from secrets import token_bytes
from typing import Any

from llmcore.adapters.local import SystemClock
from llmcore.app import options
from llmcore.catalog import Catalog
from llmcore.plan import Principal
from llmcore.planner import Draft, Planner, PlannerOptions, template_draft
from llmcore.ports import Model
from llmcore.providers import LLMManager
from llmcore.providers.masking import MaskedModel, Masker
from llmcore.settings import Settings, load
from llmcore.templates import Texts

OPERATOR = Principal(name="operator", role="admin")
"""Who asks where no server knows who it is."""


def settings_for(args: Namespace, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings as the options of a command ask; raises SettingsError."""
    chosen = {"llm.provider": getattr(args, "provider", None), "data_dir": args.data_dir}
    return load(args.config, overrides={**chosen, **(overrides or {})})


def model_for(settings: Settings) -> LLMManager:
    """The models as the settings say; raises Misconfigured. Opens no connection."""
    return LLMManager(options.llm(settings), SystemClock())


def template_for(settings: Settings, catalog: Catalog) -> Callable[[str], Draft | None]:
    """Gives the plan of a template that a text means; only of those in files, as a server knows those of its store."""
    texts = Texts(options.templates(settings, catalog), catalog)

    def meant(text: str) -> Draft | None:
        found = texts.meant(text, lambda _: True)
        return template_draft(found.steps, tainted=found.tainted) if found else None

    return meant


@asynccontextmanager
async def planner_for(settings: Settings, catalog: Catalog) -> AsyncIterator[Planner]:
    """The planner as a server of these settings would have it; its connections are closed at the end."""
    manager = model_for(settings)
    masking = settings.llm.masking
    model: Model = MaskedModel(manager, Masker(token_bytes(32), masking.names)) if masking.enabled else manager
    try:
        yield Planner(catalog, model, PlannerOptions())
    finally:
        await manager.aclose()
