"""Reading logs from the end: every line once, in order, whatever the blocks, line ends and sizes."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.adapters.host import Logs, LogsOptions, logs
from llmcore.adapters.host.names import pick
from llmcore.errors import NotFound


def service(file: Path, **options: Any) -> Logs:
    """One log."""
    return Logs(LogsOptions(logs={"app": str(file)}, **options))


@given(data=st.binary(max_size=400), block=st.integers(1, 50))
def test_reading_backwards_gives_the_lines_of_the_file(data: bytes, block: int) -> None:
    """The same as splitting the whole file, last line first."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryFile() as file:
        patch.setattr(logs, "_BLOCK_BYTES", block)
        file.write(data)
        file.flush()
        found = list(logs._lines_from_end(file.fileno(), len(data), 0))
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    assert found == [line.removesuffix(b"\r") for line in reversed(lines)]


@pytest.mark.asyncio
async def test_control_characters_stay_data_and_long_lines_are_cut(tmp_path: Path) -> None:
    """Nothing is interpreted; cutting is told."""
    file = tmp_path / "app.log"
    file.write_bytes(b"\x1b[31mred\x1b[0m\x07\r\n\xff\xfe\n" + b"x" * 50)
    found = await service(file, max_line_chars=20).read("app")
    assert found["lines"] == ["\x1b[31mred\x1b[0m\x07", "\ufffd\ufffd", "x" * 20]
    assert found["truncated"]


@pytest.mark.asyncio
async def test_an_answer_and_a_search_have_limits(tmp_path: Path) -> None:
    """Few bytes out, and not the whole of a huge file in."""
    file = tmp_path / "app.log"
    file.write_text("needle\n" + "hay\n" * 1000)
    found = await service(file, max_answer_bytes=10).read("app", lines=1000)
    assert found == {"name": "app", "lines": ["hay"] * 4, "truncated": True}
    found = await service(file, max_scan_bytes=100).read("app", contains="needle")
    assert found == {"name": "app", "lines": [], "truncated": True}


@pytest.mark.asyncio
async def test_a_huge_sparse_log_is_read_from_its_end(tmp_path: Path) -> None:
    """A terabyte before it does not matter."""
    file = tmp_path / "app.log"
    with file.open("wb") as out:
        out.truncate(1 << 40)
        out.seek(0, os.SEEK_END)
        out.write(b"\nlast\n")
    assert (await service(file).read("app", lines=1))["lines"] == ["last"]


@pytest.mark.asyncio
async def test_an_empty_log_has_no_lines(tmp_path: Path) -> None:
    """And is not cut."""
    (tmp_path / "app.log").touch()
    assert await service(tmp_path / "app.log").read("app") == {"name": "app", "lines": [], "truncated": False}


def test_a_name_is_found_as_written_or_by_its_letters() -> None:
    """Otherwise near ones are offered, or all, or the remedy."""
    assert pick("App", ["app", "App"], "log") == "App"
    assert pick("APP", ["app", "other"], "log") == "app"
    with pytest.raises(NotFound, match="Did you mean nginx"):
        pick("ngin", ["nginx", "redis"], "log")
    with pytest.raises(NotFound, match="Known: nginx, redis"):
        pick("zzz", ["redis", "nginx"], "log")
    with pytest.raises(NotFound, match="settings name no log yet"):
        pick("zzz", [], "log")
    with pytest.raises(NotFound):
        pick("APP", ["app", "App"], "log")
