"""What the commands that talk to a running server take from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Where a command finds its server and its files."""

    url: str | None
    """`LLMCORE_URL`; None: the server of the last login, else the default address."""
    token: str | None = field(repr=False)
    """`LLMCORE_TOKEN`; None: the one kept by the last login."""
    folder: Path
    """Folder for credentials and history, `llmcore` below `$XDG_CONFIG_HOME` or `~/.config`."""
    password: str | None = field(repr=False)
    """`LLMCORE_ADMIN_PASSWORD`, for a login without a terminal."""


def load_client(environ: Mapping[str, str] | None = None) -> ClientSettings:
    """Read the variables; None takes those of the process."""
    found = os.environ if environ is None else environ  # noqa: TID251 - settings is the one reader
    base = found.get("XDG_CONFIG_HOME") or "~/.config"
    return ClientSettings(
        url=found.get("LLMCORE_URL") or None,
        token=found.get("LLMCORE_TOKEN") or None,
        folder=Path(base).expanduser() / "llmcore",
        password=found.get("LLMCORE_ADMIN_PASSWORD") or None,
    )
