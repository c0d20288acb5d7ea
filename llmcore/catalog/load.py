"""Finds intents: installed packs by entry point, a folder of packs, YAML or JSON files for a host's own intents.

Used by `app` and by the commands that work without a server. Knows nothing of what the intents do.
"""

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from llmcore.catalog.checks import CatalogError
from llmcore.intent import Effect, Example, Intent

GROUP = "llmcore.intents"
_FIELDS = frozenset(
    {
        "name",
        "description",
        "schema",
        "effect",
        "idempotent",
        "examples",
        "vocabulary",
        "frees_space",
        "long_running",
    }
)


def load_packs() -> Iterator[Intent]:
    """Intents of all packs that are installed; raises CatalogError for one that cannot be imported."""
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            module = entry.load()
        except (ImportError, SyntaxError, TypeError, ValueError, AttributeError) as error:
            raise CatalogError(entry.value, "import", f"cannot be imported: {error}") from error
        yield from _of_module(module)


def load_folder(folder: Path) -> Iterator[Intent]:
    """Intents of a file, or of every `.py`, `.yaml`, `.yml` and `.json` file in a folder, by name."""
    if not folder.exists():
        raise CatalogError(str(folder), "packs.path", "does not exist")
    files = [folder] if folder.is_file() else sorted(folder.iterdir())
    for file in files:
        if file.suffix == ".py" and not file.name.startswith("_"):
            yield from _of_module(_import(file))
        elif file.suffix in {".yaml", ".yml", ".json"}:
            yield from _of_file(file)


def _of_module(module: ModuleType) -> Iterator[Intent]:
    return (value for value in vars(module).values() if isinstance(value, Intent))


def _import(file: Path) -> ModuleType:
    name = f"llmcore_pack_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise CatalogError(str(file), "import", "is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (ImportError, SyntaxError, TypeError, ValueError, AttributeError, NameError) as error:
        raise CatalogError(str(file), "import", f"cannot be imported: {error}") from error
    return module


def _of_file(file: Path) -> Iterator[Intent]:
    try:
        document = yaml.safe_load(file.read_text("utf-8"))  # JSON is YAML
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CatalogError(str(file), "/", f"is neither YAML nor JSON: {error}") from error
    entries = document.get("intents") if isinstance(document, Mapping) else document
    if not isinstance(entries, list):
        raise CatalogError(str(file), "intents", "must be a list of intents")
    for number, entry in enumerate(entries):
        yield _of_entry(file, number, entry)


def _of_entry(file: Path, number: int, entry: Any) -> Intent:
    where = f"{entry['name']}" if isinstance(entry, Mapping) and isinstance(entry.get("name"), str) else f"{number}"

    def refuse(field: str, problem: str) -> CatalogError:
        return CatalogError(str(file), f"{where}/{field}", problem)

    if not isinstance(entry, Mapping):
        raise refuse("", "must be an object with name, description, schema, effect and examples")
    for field in entry.keys() - _FIELDS:
        raise refuse(str(field), f"is unknown; known: {', '.join(sorted(_FIELDS))}")
    for field, kind in (("name", str), ("description", str)):
        if not isinstance(entry.get(field), kind):
            raise refuse(field, "is missing")
    try:
        effect = Effect(entry.get("effect", Effect.DESTRUCTIVE))
    except ValueError as error:
        raise refuse("effect", f"{entry['effect']!r} is unknown; use read, write or destructive") from error
    schema = entry.get("schema", {"type": "object", "properties": {}, "additionalProperties": False})
    if not isinstance(schema, Mapping):
        raise refuse("schema", "must be a JSON Schema of type object")
    return Intent(
        name=entry["name"].removeprefix("intent_"),
        description=entry["description"],
        schema=schema,
        effect=effect,
        idempotent=bool(entry.get("idempotent", effect is Effect.READ)),
        examples=tuple(_examples(entry.get("examples", []), refuse)),
        pack=str(file),
        vocabulary=dict(entry.get("vocabulary", {})),
        long_running=bool(entry.get("long_running", False)),
        frees_space=bool(entry.get("frees_space", False)),
    )


def _examples(raw: Any, refuse: Any) -> Iterator[Example]:
    if not isinstance(raw, list):
        raise refuse("examples", "must be a list of {text, params}")
    for number, item in enumerate(raw):
        if not isinstance(item, Mapping) or not isinstance(item.get("text"), str):
            raise refuse(f"examples/{number}/text", "is missing")
        if not isinstance(item.get("params", {}), Mapping):
            raise refuse(f"examples/{number}/params", "must be an object")
        yield Example(item["text"], item.get("params", {}))
