"""The settings: one JSON Schema, a file, the environment, frozen values.

Read by `cli` and `app` only; rooms below get small options of their own. The only reader of the environment. Knows
nothing of what is built from it.
"""

from llmcore.settings.client import ClientSettings, load_client
from llmcore.settings.loading import load
from llmcore.settings.reference import defaults, reference
from llmcore.settings.schema import SettingsError
from llmcore.settings.values import Llm, Provider, Settings, Target, TelegramBot

__all__ = [
    "ClientSettings",
    "Llm",
    "Provider",
    "Settings",
    "SettingsError",
    "Target",
    "TelegramBot",
    "defaults",
    "load",
    "load_client",
    "reference",
]
