"""Helpers of tests that run the product as users do: copies of the checkout, servers that are started and stopped."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READY = "llmcore ready on "


def copy_checkout(folder: Path) -> Path:
    """The files that git knows or would take, as they are now: what a clone of the next commit holds."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    return folder


@contextmanager
def serving(
    *command: str | Path, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[tuple[str, str]]:
    """Start a server; its address and what it said until it was ready. It has to end cleanly on SIGTERM."""
    process = subprocess.Popen(
        [str(part) for part in command],
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if line.startswith(READY):
                break
        assert said, "the server said nothing"
        assert READY in said[-1], "".join(said)
        yield said[-1].removeprefix(READY).strip(), "".join(said)
    finally:
        process.terminate()
        rest, _ = process.communicate()
    assert process.returncode == 0, "".join([*said, rest])
