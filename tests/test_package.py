"""What is shipped: the package list is complete, the wheel holds the product alone and serves the dashboard."""

import re
import subprocess
import sys
import sysconfig
import tomllib
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

from llmcore import __version__
from tests.processes import ROOT, copy_checkout, serving


def _project() -> dict[str, dict[str, dict[str, str]]]:
    table: dict[str, dict[str, dict[str, str]]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    return table


def test_every_folder_is_listed() -> None:
    """A forgotten sub-package would be missing from the wheel without any error."""
    options = _project()["setuptools"]
    found = set()
    for name, folder in options["package-dir"].items():
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                found.add(".".join([name, *file.parent.relative_to(ROOT / folder).parts]))
    assert found == set(options["packages"])


def test_the_newest_entry_of_the_changelog_is_this_version() -> None:
    """Keep a Changelog: an unreleased part on top, then this version, newest first."""
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[:2] == ["Unreleased", __version__]


def test_requirements_are_hashed_and_name_no_place() -> None:
    """Every version is pinned with its hashes; where to get it is the business of the machine."""
    for name in ("run", "test", "lint"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
        pinned = re.findall(r"^[\w.\[\]-]+==[^\s;]+", text, re.MULTILINE)
        assert len(pinned) > 20
        assert len(re.findall(r"^\S.*\\\n +--hash=sha256:", text, re.MULTILINE)) == len(pinned)
        assert "://" not in text


def _build_wheel(folder: Path) -> Path:
    checkout = copy_checkout(folder / "checkout")
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(folder)], cwd=checkout, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _get(url: str) -> tuple[str, str]:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - a server of the test
        return answer.read().decode(), answer.headers["Content-Type"]


def test_the_wheel_serves_the_dashboard(tmp_path: Path) -> None:
    """Installed in a clean environment, beside the libraries of this one, it starts and has all that its page names."""
    wheel = _build_wheel(tmp_path)
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert top == {"llmcore", f"cloudisense_llmcore-{__version__}.dist-info"}

    clean = tmp_path / "clean"
    venv.create(clean, with_pip=True, symlinks=True)
    install = [str(clean / "bin/python"), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (packages,) = clean.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"), "utf-8")

    command = (clean / "bin/llmcore", "serve", "--port", "0", "--data-dir", tmp_path / "data")
    with serving(*command, cwd=tmp_path) as (url, _):
        page, kind = _get(f"{url}/")
        assert kind.startswith("text/html")
        named = re.findall(r'<(?:script|link)[^>]+(?:src|href)="(?!data:)([^"]+)"', page)
        assert named
        for reference in named:
            body, _ = _get(f"{url}/{reference.removeprefix('/')}")
            assert body


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_fresh_checkout_runs_by_one_command(tmp_path: Path, machine_environment: dict[str, str]) -> None:
    """`scripts/run` installs and serves; the second start installs nothing."""
    checkout = copy_checkout(tmp_path / "checkout")
    environment = {**machine_environment, "HOME": str(tmp_path), "PYTHON": sys.executable}
    command = (checkout / "scripts/run", "--port", "0", "--data-dir", tmp_path / "data")
    with serving(*command, environment=environment, cwd=tmp_path) as (url, said):
        assert "Installing" in said
        assert "administrator" in said
        assert "<html" in _get(f"{url}/")[0]
    with serving(*command, environment=environment, cwd=tmp_path) as (_, said):
        assert "Installing" not in said
