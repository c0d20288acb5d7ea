"""Where a command finds its server and how it proves who it is; kept in a file that only its owner may read.

Used by `login` and, through `remote`, by every command that talks to a server.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from llmcore.cli.exits import Usage
from llmcore.errors import Unauthorized
from llmcore.settings import ClientSettings, load_client

DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Login:
    """A server and the tokens for it."""

    url: str
    access: str
    refresh: str | None = None
    """None for a token from the environment, which nobody can renew."""


class Credentials:
    """The file of tokens by server, and which server was the last."""

    def __init__(self, settings: ClientSettings) -> None:
        """Read it lazily."""
        self._settings = settings
        self.path = settings.folder / "credentials.json"

    def url(self, given: str | None) -> str:
        """The server's address: as given, from the environment, of the last login, or the usual one."""
        found = given or self._settings.url or self._read().get("current") or DEFAULT_URL
        if not found.startswith(("http://", "https://")):
            raise Usage(f"{found} is no address of a server; write it like {DEFAULT_URL}.")
        return str(found).rstrip("/")

    def named(self, given: str | None) -> bool:
        """True if a server was named for this very call, by an option or the environment."""
        return bool(given or self._settings.url or self._settings.token)

    def login(self, given: str | None) -> Login:
        """Server and tokens; Unauthorized where there are none."""
        url = self.url(given)
        if self._settings.token:
            return Login(url, self._settings.token)
        tokens = self._read().get("servers", {}).get(url)
        if not tokens:
            raise Unauthorized(f"You are not logged in to {url}; run `llmcore login --url {url}`.")
        return Login(url, tokens["access"], tokens["refresh"])

    def keep(self, url: str, data: Mapping[str, Any]) -> Login:
        """Write down what `/authorize` answered."""
        login = Login(url, data["access"]["token"], data["refresh"]["token"])
        document = self._read()
        document["current"] = url
        document.setdefault("servers", {})[url] = {"access": login.access, "refresh": login.refresh}
        write_private(self.path, orjson.dumps(document))
        return login

    def _read(self) -> dict[str, Any]:
        try:
            found = orjson.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            raise Usage(f"{self.path} cannot be read; delete it and log in again.") from None
        return found if isinstance(found, dict) else {}


def credentials() -> Credentials:
    """Those of the person who runs this process."""
    return Credentials(load_client())


def write_private(path: Path, content: bytes) -> None:
    """Replace a file, whole or not at all, so that only its owner may read it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    new.chmod(0o600)
    new.replace(path)
