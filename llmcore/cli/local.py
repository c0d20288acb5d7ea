"""What the commands that need no server share: the settings, and the rooms built as the server builds them.

Used by those commands.
"""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from llmcore.adapters.local import SystemClock
from llmcore.app import options
from llmcore.providers import LLMManager
from llmcore.settings import Settings, load


def settings_for(args: Namespace, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings as the options of a command ask; raises SettingsError."""
    chosen = {"llm.provider": getattr(args, "provider", None), "data_dir": args.data_dir}
    return load(args.config, overrides={**chosen, **(overrides or {})})


def model_for(settings: Settings) -> LLMManager:
    """The models as the settings say; raises Misconfigured. Opens no connection."""
    return LLMManager(options.llm(settings), SystemClock())
