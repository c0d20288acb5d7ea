"""What is in a file: its first bytes as text or not, its hash; and how times are written.

Used by the file and log services, inside worker threads. Must not know roots or requests.
"""

import hashlib
import os
from datetime import UTC, datetime

from llmcore.adapters.host.trees import open_file


def head(fd: int, name: str, size: int) -> bytes:
    """The first bytes of a regular file in the folder `fd`."""
    source = open_file(fd, name)
    with os.fdopen(source, "rb") as file:
        return file.read(size)


def sha256(fd: int, name: str) -> str:
    """SHA-256 of a regular file in the folder `fd`, as hex."""
    with os.fdopen(open_file(fd, name), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_text(data: bytes, *, cut: bool) -> str | None:
    """The data as text, None if it is binary; a character that was cut in half at the end is left out."""
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if cut and error.start >= len(data) - 3:
            return data[: error.start].decode("utf-8")
    control = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in data)
    return data.decode("latin-1") if control * 100 <= len(data) else None


def when(epoch_s: float) -> str:
    """RFC 3339, UTC, whole seconds."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
