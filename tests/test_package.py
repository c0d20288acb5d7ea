"""The package list of pyproject.toml is complete."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_folder_is_listed() -> None:
    """A forgotten sub-package would be missing from the wheel without any error."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    found = set()
    for name, folder in options["package-dir"].items():
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                found.add(".".join([name, *file.parent.relative_to(ROOT / folder).parts]))
    assert found == set(options["packages"])
