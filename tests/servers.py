"""Pytest plugin: real servers for the tests, and an honest count of what was left out because one is missing.

Loaded by conftest. A test that takes one of the fixtures below needs its server; it is deselected where that is not
installed, or stops the run with `--all`. Every server is started here, on loopback, and stopped again.
"""

import os
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

NEEDS = {
    "redis_url": ("needs_redis", "redis-server"),
    "own_postgres": ("needs_postgres", "/usr/lib/postgresql/*/bin/initdb"),
    "postgres_url": ("needs_postgres", "/usr/lib/postgresql/*/bin/initdb"),
    "chromium": ("needs_chromium", "chromium"),
    "tmux": ("needs_tmux", "tmux"),
    "small_disk": ("needs_mount", "mount"),
}
"""Fixture, the marker it means, and the program behind it."""
ROOT_ONLY = frozenset({"mount"})
"""Programs that do what they are here for only for root."""
_left_out = pytest.StashKey[Counter[str]]()


def find_program(pattern: str) -> str | None:
    """The newest program of that name or pattern, or None."""
    if pattern in ROOT_ONLY and os.geteuid() != 0:
        return None
    return shutil.which(pattern) or max(glob(pattern), default=None)


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--all`: nothing may be missing."""
    parser.addoption("--all", action="store_true", help="fail if a server that a test needs is not installed")


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for marker, program in NEEDS.values():
        config.addinivalue_line("markers", f"{marker}: needs {program}")
    config.stash[_left_out] = Counter()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what cannot run here and count it, beside what the choice of the stage leaves out."""
    counts = config.stash[_left_out]
    missing = {marker: program for marker, program in NEEDS.values() if not find_program(program)}
    for item in items:
        for fixture in set(NEEDS).intersection(getattr(item, "fixturenames", ())):
            item.add_marker(NEEDS[fixture][0])
    absent = [item for item in items if any(item.get_closest_marker(marker) for marker in missing)]
    for item in absent:
        counts.update(f"{missing[mark.name]} is not installed" for mark in item.iter_markers() if mark.name in missing)
    if absent and config.getoption("all"):
        raise pytest.UsageError(f"--all, but: {_told(counts)}")
    items[:] = [item for item in items if item not in absent]
    config.hook.pytest_deselected(items=absent)
    if config.getoption("markexpr") == "not slow":
        slow = sum(1 for item in items if item.get_closest_marker("slow"))
        counts["in the second stage (-m slow, --all runs it too)"] = slow


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in sorted(counts.items()) if number) or "nothing"


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line on what was deselected and why."""
    terminalreporter.write_line(f"left out: {_told(config.stash[_left_out])}")


@contextmanager
def _running(command: list[str], ready: str) -> Iterator[None]:
    """A server between the line that says it is ready and the end of the block."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        seen = []
        for line in process.stdout:
            seen.append(line)
            if ready in line:
                break
        else:
            pytest.fail("".join([f"{command[0]} did not start:\n", *seen]))
        yield
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture(scope="session")
def _redis_port() -> Iterator[int]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="llmcore-redis-") as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with _running(command, "Ready to accept connections"):
            yield port


@pytest.fixture
def redis_url(_redis_port: int) -> str:
    """A real Redis with nothing in it."""
    with socket.create_connection(("127.0.0.1", _redis_port)) as connection:
        connection.sendall(b"FLUSHALL\r\n")
        assert connection.recv(64).startswith(b"+OK")
    return f"redis://127.0.0.1:{_redis_port}/0"


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL, which refuses to run as root, so it runs as the user that its package brings."""

    folder: str
    port: int
    user: str | None

    @property
    def url(self) -> str:
        """The address of its first database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def run(self, program: str, *args: str) -> None:
        """One of its own programs, on its data."""
        programs = Path(find_program(NEEDS["postgres_url"][1]) or "").parent
        command = [str(programs / program), "-D", f"{self.folder}/cluster", *args]
        subprocess.run(command, user=self.user, cwd=self.folder, check=True, stdout=subprocess.DEVNULL, timeout=50)

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self.folder} -c fsync=off"
        self.run("pg_ctl", "start", "-w", "-o", options, "-l", f"{self.folder}/log")

    def stop(self) -> None:
        """Stop it as a power failure would."""
        self.run("pg_ctl", "stop", "-w", "-m", "immediate")


@contextmanager
def postgres_cluster() -> Iterator[Postgres]:
    """A PostgreSQL that runs, and may be stopped and started."""
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="llmcore-postgres-", ignore_cleanup_errors=True) as folder:
        if user:
            shutil.chown(folder, user)
        server = Postgres(folder, free_port(), user)
        server.run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def postgres_server() -> Iterator[int]:
    """The port of a PostgreSQL."""
    with postgres_cluster() as server:
        yield server.port


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL of the test's own, which it may stop and start."""
    with postgres_cluster() as server:
        yield server


@pytest.fixture(scope="session")
def _postgres_port() -> Iterator[int]:
    with postgres_server() as port:
        yield port


@pytest.fixture
def postgres_url(_postgres_port: int) -> Iterator[str]:
    """An empty database of a real PostgreSQL, gone after the test."""
    with postgres_database(_postgres_port) as url:
        yield url


@contextmanager
def postgres_database(port: int) -> Iterator[str]:
    """The address of an empty database, gone at the end."""
    server = f"postgresql://postgres@127.0.0.1:{port}"
    name = f"test_{uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        yield f"{server}/{name}"
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes disks of so many MiB, each a folder of its own."""
    with ExitStack() as disks:

        def make(size_mib: int) -> Path:
            folder = tmp_path / f"disk-{size_mib}"
            folder.mkdir()
            size = f"size={size_mib}m"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "llmcore-test", str(folder)], check=True)
            disks.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
            return folder

        yield make


@pytest.fixture
def chromium() -> str:
    """The path of a real browser."""
    path = find_program("chromium")
    assert path
    return path


@pytest.fixture
def tmux() -> str:
    """The path of a real terminal multiplexer."""
    path = find_program("tmux")
    assert path
    return path
