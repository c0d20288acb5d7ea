"""Pytest plugin: what no test may do unseen.

Loaded by conftest. The environment is clean, only this machine is reachable; a blocking call of ours inside an event
loop fails, and so does an ERROR in the log that the test did not announce. Knows nothing of what is tested.
"""

import errno
import ipaddress
import logging
import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from blockbuster import blockbuster_ctx

MACHINE = dict(os.environ)  # noqa: TID251 - what is to be cleaned
"""The environment as the tests found it."""
TOO_SLOW = hypothesis.HealthCheck.too_slow
"""A busy machine is no reason to fail."""
OURS = re.compile(r"LLMCORE_.*|.*_API_KEY|COVERAGE_PROCESS_START")


def pytest_configure(config: pytest.Config) -> None:
    """Clean the environment of this process and of all that it starts; close the way out."""
    config.addinivalue_line("markers", "logs_errors(pattern): the test means to log errors that match the pattern")
    hypothesis.settings.register_profile("here", deadline=None, derandomize=True, suppress_health_check=[TOO_SLOW])
    hypothesis.settings.load_profile("here")
    home = tempfile.TemporaryDirectory(prefix="llmcore-home-", ignore_cleanup_errors=True)
    config.add_cleanup(home.cleanup)
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    for name in filter(OURS.fullmatch, MACHINE):
        patch.delenv(name)
    patch.setenv("HOME", home.name)
    for method in ("connect", "connect_ex", "sendto"):
        patch.setattr(socket.socket, method, _only_here(getattr(socket.socket, method)))
    patch.setattr(socket, "getaddrinfo", _names_of_here(socket.getaddrinfo))


@pytest.fixture
def machine_environment() -> dict[str, str]:
    """What a person's shell on this machine has, less our own settings: for tests that install packages."""
    return {name: value for name, value in MACHINE.items() if not OURS.fullmatch(name)}


def _here(host: object) -> bool:
    if host is None or host in ("", "localhost", b"localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.decode() if isinstance(host, bytes) else str(host))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _only_here(method: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, *args: Any) -> Any:
        address = args[-1]
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _here(address[0]):
            raise OSError(errno.ENETUNREACH, f"tests reach only this machine, not {address[0]}")
        return method(self, *args)

    return guarded


def _names_of_here(lookup: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(host: object, *args: Any, **options: Any) -> Any:
        if not _here(host):
            raise socket.gaierror(socket.EAI_NONAME, f"tests reach only this machine, not {host!r}")
        return lookup(host, *args, **options)

    return guarded


@pytest.fixture(autouse=True)
def no_blocking(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail an asynchronous test in which a module of ours blocks the event loop."""
    if not any(request.node.get_closest_marker(name) for name in ("asyncio", "gen_test")):
        yield
        return
    with blockbuster_ctx(scanned_modules=["llmcore", "llmcore.intents"]):
        yield


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(f"{record.name}: {self.format(record)}")


@pytest.fixture(autouse=True)
def no_unexpected_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that logs an ERROR without saying so by `@pytest.mark.logs_errors("pattern")`, or says so in vain."""
    handler = _Errors()
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)
    marker = request.node.get_closest_marker("logs_errors")
    expected = re.compile(marker.args[0], re.DOTALL) if marker else None
    unexpected = [line for line in handler.seen if not (expected and expected.search(line))]
    assert not unexpected, "\n".join(["errors were logged:", *unexpected])
    assert expected is None or handler.seen, f"no error matches {marker.args[0]!r}" if marker else ""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """An empty folder of the test's own."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder
