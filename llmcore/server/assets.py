"""`/` and `/static/…`: the dashboard's files.

Read into memory once, at start: what is served later are these bytes and nothing else, so no request can name another
file. A browser keeps them and asks by `ETag` whether they are still the same.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import cast

from tornado.web import HTTPError

from llmcore.server.web import Handler

TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""What a dashboard consists of; files of other kinds in its folder are not served."""
_PACKED = {".ico", ".png", ".woff2"}


@dataclass(frozen=True)
class Asset:
    """One file."""

    body: bytes
    content_type: str
    packed: bool
    """True if compressing it again gains nothing."""

    @cached_property
    def etag(self) -> str:
        """Changes with the content."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'

    @cached_property
    def gzipped(self) -> bytes:
        """The body, compressed on first use."""
        return gzip.compress(self.body, mtime=0)


class Assets:
    """The files below a folder, by their path."""

    def __init__(self) -> None:
        """Empty until loaded."""
        self._files: dict[str, Asset] = {}

    def load(self, root: Path | None) -> None:
        """Read all files; blocks."""
        found = sorted(root.rglob("*")) if root is not None else ()
        self._files = {
            path.relative_to(root).as_posix(): _read(path)
            for path in found
            if root is not None and path.suffix in TYPES and path.is_file()
        }

    def get(self, path: str) -> Asset:
        """The file of that path; HTTPError 404 if there is none."""
        asset = self._files.get(path)
        if asset is None:
            raise HTTPError(HTTPStatus.NOT_FOUND)
        return asset


class AssetHandler(Handler):
    """`GET /` and `GET /static/…`."""

    methods = "GET"

    def get(self, path: str = "index.html") -> None:
        """Send a file, or 304 if the browser has it."""
        asset = cast(Assets, self.settings["assets"]).get(path)
        self.set_header("Content-Type", asset.content_type)
        self.set_header("Cache-Control", "no-cache")
        self.set_header("ETag", asset.etag)
        self.add_header("Vary", "Accept-Encoding")
        if self.check_etag_header():
            self.set_status(HTTPStatus.NOT_MODIFIED)
            return
        if not asset.packed and "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            self.write(asset.gzipped)
        else:
            self.write(asset.body)

    head = get


def _read(path: Path) -> Asset:
    content_type = TYPES[path.suffix]
    text = content_type.startswith(("text/", "application/", "image/svg"))
    return Asset(path.read_bytes(), f"{content_type}; charset=utf-8" if text else content_type, path.suffix in _PACKED)
