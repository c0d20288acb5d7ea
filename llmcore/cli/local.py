"""What the commands that need no server share: the settings, and the rooms built as the server builds them.

Used by those commands.
"""

from argparse import Namespace
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from secrets import token_bytes
from typing import Any

from llmcore.adapters.local import SystemClock
from llmcore.app import options
from llmcore.catalog import Catalog
from llmcore.plan import Principal
from llmcore.planner import Planner, PlannerOptions
from llmcore.ports import Model
from llmcore.providers import LLMManager
from llmcore.providers.masking import MaskedModel, Masker
from llmcore.settings import Settings, load

OPERATOR = Principal(name="operator", role="admin")
"""Who asks where no server knows who it is."""


def settings_for(args: Namespace, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings as the options of a command ask; raises SettingsError."""
    chosen = {"llm.provider": getattr(args, "provider", None), "data_dir": args.data_dir}
    return load(args.config, overrides={**chosen, **(overrides or {})})


def model_for(settings: Settings) -> LLMManager:
    """The models as the settings say; raises Misconfigured. Opens no connection."""
    return LLMManager(options.llm(settings), SystemClock())


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
