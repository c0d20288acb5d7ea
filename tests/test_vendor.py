"""Vendored JavaScript is exactly what was vendored, with its licence."""

import hashlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = [ROOT / "static" / "vendor", ROOT / "tests" / "vendor"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_vendored_files_are_unchanged_and_licensed(folder: Path) -> None:
    """Each file has its hash, each package its licence text, and nothing else lies there."""
    told = json.loads((folder / "VENDOR.json").read_text("utf-8"))
    known = {"VENDOR.json"}
    for entry in told["files"]:
        assert hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest() == entry["sha256"], entry["file"]
        known.add(entry["file"])
        for package in entry["packages"]:
            assert package["version"]
            assert package["licence"] in {"MIT", "BSD-3-Clause", "Apache-2.0", "MPL-2.0"}
            assert (folder / package["licence_file"]).stat().st_size > 500
            known.add(package["licence_file"])
    assert {file.name for file in folder.iterdir()} == known
