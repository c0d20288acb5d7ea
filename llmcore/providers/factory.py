"""Finds model providers by name and builds them.

Used by the LLM manager and by `doctor`. Must not import any provider by itself: they come through entry points, so
that a package can add one and none is loaded that nobody chose.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import ClassVar

from llmcore.provider import LLMProvider, Misconfigured, ProviderOptions

_SETTING = "LLMCORE_LLM__PROVIDER"

Builder = Callable[[ProviderOptions], LLMProvider]


class LLMProviderFactory:
    """Finds providers by name and builds them."""

    GROUP: ClassVar[str] = "llmcore.providers"
    aliases: ClassVar[Mapping[str, str]] = {"chatgpt": "openai", "claude": "anthropic"}

    def __init__(self, points: Iterable[EntryPoint] | None = None) -> None:
        """Read which providers are installed (a few blocking file reads), unless told; imports none of them."""
        self._known: dict[str, EntryPoint | Builder] = {}
        found = entry_points(group=self.GROUP) if points is None else points
        for point in sorted(found, key=lambda point: not point.value.startswith("llmcore.")):  # nobody takes our names
            self._known.setdefault(point.name, point)

    @property
    def names(self) -> list[str]:
        """Names that `create` knows, aliases left out."""
        return sorted(self._known)

    def register(self, name: str, build: Builder) -> None:
        """Add or replace a provider in this process, without an entry point."""
        self._known[name] = build

    def resolve(self, name: str, setting: str = _SETTING) -> str:
        """The name without aliases and capitals; Misconfigured, naming `setting`, if there is no such provider."""
        found = self.aliases.get(name.lower(), name.lower())
        if found not in self._known:
            known = ", ".join([*self.names, *self.aliases])
            raise Misconfigured(setting, f"there is no provider {name!r}; known are {known}.")
        return found

    def create(self, name: str, options: ProviderOptions) -> LLMProvider:
        """Build a provider; Misconfigured if the name is unknown, a setting is missing or its package is broken."""
        found = self._known[self.resolve(name)]
        if not isinstance(found, EntryPoint):
            return found(options)
        try:
            made = found.load()
        except (ImportError, AttributeError) as error:
            raise Misconfigured(_SETTING, f"the provider {name!r} cannot be loaded ({error}).") from error
        if not (isinstance(made, type) and issubclass(made, LLMProvider)):
            raise Misconfigured(_SETTING, f"{found.value!r} of {name!r} is no LLMProvider.")
        return made(options)
