"""What `llmcore doctor` looks at on this machine: folders, store, bus, the port, what the intents may touch.

Used by the doctor. Each finding that is not good says what to do.
"""

import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from llmcore.adapters.sql import verify_file
from llmcore.app.reserve import FULL_BYTES, room_of
from llmcore.errors import LLMCoreError, NotFound
from llmcore.settings import Settings, Target

FREE_BYTES = 200 << 20
CONNECT_S = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor."""

    status: Literal["ok", "warn", "fail"]
    name: str
    message: str


def store_findings(settings: Settings) -> Iterator[Finding]:
    """The data folder, the store and its audit chain, the bus."""
    yield from _data_folder(settings.data_dir)
    try:
        found = verify_file(settings.data_dir, settings.store.url.get_secret_value())
    except NotFound:
        yield Finding("ok", "store", "will be made at the first start")
    except LLMCoreError as error:
        yield Finding("fail", "store", error.message)
    except OSError as error:
        yield Finding("fail", "store", f"{error.filename}: {error.strerror}")
    else:
        yield Finding("ok", "store", f"readable, {found.rows} audit records")
        if not found.ok:
            yield Finding(
                "fail", "audit", f"record {found.first_bad} is not what was written; keep a copy, look who did it"
            )
    yield _bus(settings.bus.url.get_secret_value())


def server_findings(settings: Settings) -> Iterator[Finding]:
    """The address to listen on and the encryption."""
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            advice = "llmcore may be running already; else take another --port"
            yield Finding("warn", "address", f"{host}:{port} cannot be taken ({error.strerror}): {advice}")
        else:
            yield Finding("ok", "address", f"{host}:{port} is free")
    for name, file in (("cert", settings.server.tls.cert), ("key", settings.server.tls.key)):
        if file is not None and not os.access(file, os.R_OK):
            yield Finding("fail", f"tls {name}", f"{file} cannot be read: check the path and its permissions")
    if host not in ("127.0.0.1", "::1", "localhost") and settings.server.tls.cert is None:
        yield Finding("warn", "tls", "passwords cross the network unencrypted: set server.tls or put a proxy in front")


def host_findings(settings: Settings) -> Iterator[Finding]:
    """Roots, scripts, logs and targets of the bundled intents."""
    system = settings.system
    for root in system.roots:
        yield _folder("root", root, "LLMCORE_SYSTEM__ROOTS")
    if system.scripts is not None:
        yield _folder("scripts", system.scripts, "LLMCORE_SYSTEM__SCRIPTS")
    for name, file in system.logs.items():
        readable = os.access(file, os.R_OK) and file.is_file()
        advice = "is readable" if readable else "cannot be read: check LLMCORE_SYSTEM__LOGS and the file's permissions"
        yield Finding("ok" if readable else "warn", f"log {name}", f"{file} {advice}")
    for name, target in system.targets.items():
        missing = [program for program in _programs(target) if shutil.which(program) is None]
        if missing:
            yield Finding(
                "warn", f"target {name}", f"{', '.join(missing)} is not installed: check LLMCORE_SYSTEM__TARGETS"
            )
        else:
            yield Finding("ok", f"target {name}", "its commands are there")


def _data_folder(folder: Path) -> Iterator[Finding]:
    if not folder.exists():
        yield Finding("ok", "data folder", f"{folder} will be made at the first start")
        return
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(
            "fail", "data folder", f"{folder} cannot be written: give it to this user or set LLMCORE_DATA_DIR"
        )
        return
    if folder.stat().st_mode & 0o077:
        yield Finding("warn", "data folder", f"{folder} is open to others: chmod 700 {folder}")
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        yield Finding("warn", "data folder", f"only {free >> 20} MiB are free on its disk: make room")
    yield Finding("ok", "data folder", f"{folder} is writable")
    yield _reserve(folder)


def _reserve(folder: Path) -> Finding:
    """The piece of the disk that lets a clean-up run when it is full."""
    room = room_of(folder)
    size = f"{room.size / (1 << 20):.0f} MiB"
    if not room.size:
        return Finding("warn", "reserve", "none: the disk is too small; when it is full nothing can begin any more")
    if room.kept:
        small = " (less than usual: the disk is small)" if room.size < FULL_BYTES else ""
        return Finding("ok", "reserve", f"{size} are kept for a full disk{small}")
    if room.free < room.wanted:
        advice = f"delete what is not needed, or `llmcore trash purge`, until {room.wanted >> 20} MiB are free"
        return Finding("warn", "reserve", f"given away, because the disk is full: {advice}")
    return Finding("ok", "reserve", f"{size} will be kept at the next start")


def _bus(url: str) -> Finding:
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return Finding("ok", "bus", "memory: messages stay inside this process")
    if parts.scheme == "unix":
        there = Path(parts.path).is_socket()
        return Finding(
            "ok" if there else "warn", "bus", f"{parts.path} {'is there' if there else 'is no socket: start Redis'}"
        )
    host, port = parts.hostname or "localhost", parts.port or 6379
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except OSError as error:
        return Finding(
            "warn", "bus", f"{host}:{port} does not answer ({error}): start Redis or correct LLMCORE_BUS__URL"
        )
    return Finding("ok", "bus", f"{host}:{port} answers")


def _folder(kind: str, folder: Path, variable: str) -> Finding:
    if folder.is_dir() and os.access(folder, os.R_OK | os.X_OK):
        return Finding("ok", kind, f"{folder} is readable")
    return Finding("warn", kind, f"{folder} is no folder that can be read: check {variable}")


def _programs(target: Target) -> Sequence[str]:
    commands = (target.start, target.stop, target.restart, target.status, target.scale, target.replicas)
    named = [command[0] for command in commands if command]
    return [*named, "systemctl"] if target.unit else named
