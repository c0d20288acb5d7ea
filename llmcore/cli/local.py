"""What the commands that need no server share: settings and the catalogue.

Used by those commands.
"""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from llmcore.catalog import Catalog, load_folder, load_packs
from llmcore.settings import Settings, load


def settings_for(args: Namespace, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings as the options of a command ask; raises SettingsError."""
    return load(args.config, overrides={"data_dir": args.data_dir, **(overrides or {})})


def catalogue(settings: Settings) -> Catalog:
    """All bundled and configured packs; raises CatalogError."""
    own = [intent for folder in settings.packs.path for intent in load_folder(folder)]
    return Catalog([*load_packs(), *own])
