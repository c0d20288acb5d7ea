"""Run mypy with the names the wheel gives to the top-level folders (`intents/x.py` is `llmcore.intents.x`)."""

import sys
import tomllib
from pathlib import Path

from mypy import build
from mypy.errors import CompileError
from mypy.main import process_options
from mypy.modulefinder import BuildSource

ROOT = Path(__file__).resolve().parent.parent
# A cache of its own: a plain `mypy` run in the same cache makes `llmcore.intents.x` vanish from the next run here.
OPTIONS = ["--fast-module-lookup", "--cache-dir", str(ROOT / ".mypy_cache" / "house"), "-c", "pass"]


def sources() -> list[BuildSource]:
    """One source a file, named as setuptools does by `package-dir`; folders outside the wheel by their own names."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-dir"]
    found = []
    for name, folder in [*table.items(), *((folder, folder) for folder in ("tests", "scripts", "benchmarks"))]:
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = file.relative_to(ROOT / folder).with_suffix("").parts
            module = ".".join([name, *(parts[:-1] if parts[-1] == "__init__" else parts)])
            found.append(BuildSource(str(file.relative_to(ROOT)), module, None))
    return found


def main() -> int:
    """Print mypy's findings; 1 if there are any."""
    _, options = process_options([*sys.argv[1:], *OPTIONS])
    files = sources()
    try:
        found = build.build(files, options).errors
    except CompileError as error:
        found = error.messages
    print("\n".join([*found, f"{len(files)} files checked, {len(found)} messages"]))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
