"""The catalogue: every intent this host offers, checked at load, looked up by name, its params validated.

Built once in `app` from packs and files; read by planner, session and api. Knows no prompts, no policy rules and not
how an intent is called.
"""

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from llmcore.catalog.checks import CatalogError, ParamsValidator, check_intent
from llmcore.catalog.draft import steps_of
from llmcore.catalog.load import load_folder, load_packs
from llmcore.errors import BadParams, UnknownIntent
from llmcore.intent import Intent
from llmcore.plan import Effect, Principal, Step

__all__ = ["Catalog", "CatalogError", "load_folder", "load_packs"]


class Catalog:
    """All intents by name. Immutable after it is made."""

    def __init__(self, intents: Iterable[Intent]) -> None:
        """Check every intent; raises CatalogError that names the pack and the field."""
        self._intents: dict[str, Intent] = {}
        self._validators: dict[str, ParamsValidator] = {}
        for intent in intents:
            if intent.name in self._intents:
                raise CatalogError(intent.pack, f"{intent.name}/name", "is registered twice; rename one of them")
            self._validators[intent.name] = check_intent(intent)
            self._intents[intent.name] = intent
        facts = sorted(f"{intent.name} {intent.schema_hash}" for intent in self._intents.values())
        self.version = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
        """Changes with any name, schema or effect."""

    def __iter__(self) -> Iterator[Intent]:
        """All intents in the order they were loaded."""
        return iter(self._intents.values())

    def __len__(self) -> int:
        """How many intents there are."""
        return len(self._intents)

    def __contains__(self, name: object) -> bool:
        """True for a known name; the prefix `intent_` may be there or not."""
        return isinstance(name, str) and name.removeprefix("intent_") in self._intents

    def get(self, name: str) -> Intent:
        """The intent of that name, prefix `intent_` or not; raises UnknownIntent with the nearest names."""
        found = self._intents.get(name.removeprefix("intent_"))
        if found is None:
            near = difflib.get_close_matches(name.removeprefix("intent_"), self._intents, n=3, cutoff=0.6)
            hint = f" Did you mean {' or '.join(near)}?" if near else " `intents_list` shows what there is."
            raise UnknownIntent(f"There is no intent {name!r}.{hint}", intent=name, nearest=near)
        return found

    def visible_to(self, principal: Principal) -> list[Intent]:
        """What this caller may ever use: an observer sees reads only."""
        offered = [intent for intent in self if intent.offered]
        if principal.role == "observer":
            return [intent for intent in offered if intent.effect is Effect.READ]
        return offered

    def validate(self, name: str, params: Mapping[str, Any]) -> Intent:
        """The intent, after checking literal params; raises UnknownIntent or BadParams with every wrong field."""
        intent = self.get(name)
        fields = self._validators[intent.name].problems(params)
        if fields:
            raise BadParams(f"{intent.name}: {_summary(fields)}", fields)
        return intent

    def steps(self, raw: Sequence[Any]) -> tuple[Step, ...]:
        """Checked steps of a plan from the contract's JSON; raises BadParams with every wrong field."""
        return steps_of(raw, self._intents, self._validators)


def _summary(fields: Sequence[Mapping[str, str]]) -> str:
    first = fields[0]
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    where = first["pointer"].lstrip("/") or "params"
    return f"{where} {first['message']}{more}."
