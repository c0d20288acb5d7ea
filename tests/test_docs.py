"""The documents tell the truth: their commands are run, their links lead somewhere, their tables are complete."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import Shell, commands, left_out, run_page
from tests.processes import ROOT
from tests.servers import free_port

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
REDIS = "redis://127.0.0.1:6379/0"
POSTGRES = "postgresql://llmcore:secret@127.0.0.1:5432/llmcore"
WITH_COMMANDS = [page for page in PAGES if list(commands((ROOT / page).read_text("utf-8")))]


def _needs_server(page: str) -> bool:
    """True for a page whose commands need a Redis or a PostgreSQL."""
    text = (ROOT / page).read_text("utf-8")
    return REDIS in text or POSTGRES in text


def _environment(home: Path, port: int) -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
        "HOME": str(home),
        "LLMCORE_SERVER__PORT": str(port),
        "LLMCORE_URL": f"http://127.0.0.1:{port}",
        "LLMCORE_ADMIN_PASSWORD": "typed by the reader",
        "TERM": "dumb",
    }


def _run(page: str, tmp_path: Path, example: str = "", server_url: str = "") -> None:
    """Each page in a home of its own, from the checkout, in the order in which its commands stand."""
    port = free_port()
    shell = Shell(ROOT, _environment(tmp_path, port), port)
    try:
        assert run_page((ROOT / page).read_text("utf-8").replace(example, server_url), shell)
    finally:
        shell.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("page", [page for page in WITH_COMMANDS if not _needs_server(page)])
def test_the_commands_of_a_page_work(page: str, tmp_path: Path) -> None:
    """As a reader would run them."""
    _run(page, tmp_path)


@pytest.mark.timeout(120)
def test_the_commands_about_alerts_work(tmp_path: Path, redis_url: str) -> None:
    """They need a Redis."""
    _run("docs/how-to/alerts.md", tmp_path, REDIS, redis_url)


@pytest.mark.timeout(120)
def test_the_commands_about_nodes_work(tmp_path: Path, postgres_url: str) -> None:
    """They need a PostgreSQL."""
    _run("docs/how-to/cluster.md", tmp_path, POSTGRES, postgres_url)


def test_the_readme_is_short_and_shows_the_panel() -> None:
    """Under 150 lines, with a picture that exists."""
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) < 150
    assert "docs/images/panel.png" in text


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link and picture names a file of the repository."""
    path = ROOT / page
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", path.read_text("utf-8")):
        assert (path.parent / target).exists(), f"{page} points to {target}"


def test_what_is_not_run_says_why() -> None:
    """Only what needs another system, and little of it."""
    reasons = [reason for page in PAGES for reason in left_out((ROOT / page).read_text("utf-8"))]
    assert all(re.match(r"needs |changes ", reason) for reason in reasons), reasons


def test_the_reference_is_up_to_date() -> None:
    """`scripts/reference.py` was run after the last change of an RPC, an intent or a command."""
    command = [sys.executable, "scripts/reference.py", "--check"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
