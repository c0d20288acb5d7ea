"""The guards hold, and the servers are real."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.processes import ROOT
from tests.servers import find_program


def test_the_environment_is_clean() -> None:
    """A developer's keys and settings never reach a test."""
    assert not [name for name in os.environ if name.startswith("LLMCORE_") or name.endswith("_API_KEY")]  # noqa: TID251


def test_only_this_machine_is_reachable() -> None:
    """Neither by address nor by name."""
    with socket.socket() as outside, pytest.raises(OSError, match="only this machine"):
        outside.connect(("192.0.2.1", 80))
    with pytest.raises(socket.gaierror):
        socket.create_connection(("vendor.invalid", 443))


@pytest.mark.asyncio
async def test_waiting_and_loopback_are_free() -> None:
    """What a test needs still works under the guards."""
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "localhost", 0)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.close()
        await writer.wait_closed()


@pytest.mark.logs_errors("as announced")
def test_announced_errors_pass() -> None:
    """A test of a failure may log it."""
    logging.getLogger("x").error("as announced")


def test_redis_is_real_and_empty(redis_url: str) -> None:
    """One server for all tests, emptied for each."""
    with socket.create_connection(("127.0.0.1", int(redis_url.split(":")[2].split("/")[0]))) as connection:
        connection.sendall(b"DBSIZE\r\n")
        assert connection.recv(64) == b":0\r\n"


def test_postgres_is_real_and_empty(postgres_url: str) -> None:
    """One cluster for all tests, a database for each."""
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert row == (0,)


def test_programs_are_found_by_name_and_pattern() -> None:
    """What is not installed is None, not an error."""
    assert find_program("sh")
    assert find_program("/bi*/sh") == "/bin/sh"
    assert find_program("/no/such/*") is None


CAUGHT = """
import logging
import pytest
from llmcore.settings import load

def test_logs_an_error():
    logging.getLogger("x").error("unannounced")

@pytest.mark.logs_errors("never comes")
def test_announces_in_vain():
    pass

@pytest.mark.asyncio
async def test_blocks_the_loop(tmp_path):
    load(tmp_path / "none.json", {})
"""


def test_what_breaks_a_rule_fails(tmp_path: Path) -> None:
    """An unannounced error, one announced in vain, and a file read by ours inside the event loop."""
    file = tmp_path / "test_caught.py"
    file.write_text(CAUGHT, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", "utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:warnings",
        "-p",
        "tests.guards",
        "-c",
        str(tmp_path / "pytest.ini"),
        str(file),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "1 failed, 2 passed, 2 errors" in done.stdout, done.stdout
    for reason in ("x: unannounced", "no error matches 'never comes'", "Blocking call to"):
        assert reason in done.stdout
