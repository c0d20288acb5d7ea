"""What no tracked text may hold: paths of one machine, registry hosts, unfinished work, skipped tests, conflicts.

Called by `scripts/lint`. Reads the files that git tracks.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ANYWHERE = {
    "a path of one machine": r"(?<![\w.~$}/-])/(?:work|root|opt/pypi)\b",
    "a registry host": r"pypi\.org|pythonhosted\.org|registry\.npmjs|deb\.debian\.org|crates\.io",
    "an open merge": r"^(?:<{7}|>{7}) ",
}
IN_CODE = {
    "unfinished work": r"\b(?:TODO|FIXME|XXX|HACK)\b|NotImplementedError",
    "a test that does not run": r"pytest\.(?:mark\.)?(?:skip|skipif|xfail|importorskip)\b|unittest\.skip",
}
IN_TESTS = {"a guess at time": r"\btime\.sleep\("}
UNREAD = (".png", ".ico", ".woff2", ".db", ".min.js", ".svg", ".gz")


def tracked() -> list[Path]:
    """The files of the project."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def findings(path: Path) -> Iterator[str]:
    """What one file holds that it may not."""
    name = path.relative_to(ROOT).as_posix()
    if name == "scripts/words.py" or name.endswith(UNREAD) or "/vendor/" in name:
        return
    rules = dict(ANYWHERE)
    if path.suffix in (".py", ".js", ".sh") or name.startswith("scripts/"):
        rules |= IN_CODE
    if name.startswith("tests/"):
        rules |= IN_TESTS
    text = path.read_text("utf-8", errors="replace")
    for reason, pattern in rules.items():
        for hit in re.finditer(pattern, text, re.MULTILINE):
            line = text.count("\n", 0, hit.start()) + 1
            yield f"{name}:{line}: {reason}: {hit.group().strip()}"


def main() -> int:
    """Print the findings; 1 if there are any, or nothing to read."""
    paths = tracked()
    found = [finding for path in paths for finding in findings(path)]
    print("\n".join([*found, f"{len(paths)} files, {len(found)} words that may not stand there"]))
    return int(bool(found) or not paths)


if __name__ == "__main__":
    sys.exit(main())
