"""Each room is covered by its own tests: lines and branches that only other rooms' tests reach do not count.

Called by `scripts/lint`. One run of all rooms' own tests, with the test file noted for each line that is reached. The
table `[tool.rooms]` of pyproject.toml has the share asked of all, and what differs from the rule for a room: a room
`x` (module or package of llmcore, adapter, pack) is tested by `tests/test_x.py`, `tests/test_x_*.py`, `tests/x/`.
"""

import io
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).resolve().parent.parent
ADAPTERS = "llmcore/adapters"
"""Its members are rooms of their own."""


@dataclass(frozen=True, slots=True)
class Room:
    """A part of the product, the tests that answer for it, and the percentage they have to cover."""

    path: str
    tests: tuple[str, ...]
    floor: float


class Contexts:
    """Pytest plugin: tell coverage which test file is at work."""

    def __init__(self, meter: coverage.Coverage) -> None:
        """Tell `meter`."""
        self._meter = meter

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Name the file for the time of one test."""
        self._meter.switch_context(item.nodeid.partition("::")[0])
        try:
            return (yield)
        finally:
            self._meter.switch_context("")


def members(folder: str) -> Iterator[str]:
    """Modules and packages in a folder that hold code."""
    for path in sorted((ROOT / folder).iterdir()):
        name = path.relative_to(ROOT).as_posix()
        if name == ADAPTERS:
            yield from members(name)
        elif path.name not in ("__init__.py", "__main__.py") and (path.suffix == ".py" or any(path.rglob("*.py"))):
            yield name


def rooms() -> list[Room]:
    """All rooms with what the table says of them."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["rooms"]
    found = []
    for path in (*members("llmcore"), *members("intents")):
        own = table.get(path, {})
        name = Path(path).stem
        patterns = own.get("tests", [f"tests/test_{name}.py", f"tests/test_{name}_*.py", f"tests/{name}/test_*.py"])
        tests = tuple(sorted(file.relative_to(ROOT).as_posix() for rule in patterns for file in ROOT.glob(rule)))
        found.append(Room(path, tests, own.get("floor", table["floor"])))
    return found


def judge(meter: coverage.Coverage, room: Room) -> str | None:
    """What is wrong with the coverage of a room, or None; the lines that are missing where it is below its floor."""
    own = "|".join(f"^{re.escape(test)}$" for test in room.tests)
    include = f"{room.path}/*" if (ROOT / room.path).is_dir() else room.path
    lines = io.StringIO()
    share = meter.report(
        include=str(ROOT / include), contexts=[f"^$|{own}"], file=lines, show_missing=True, skip_covered=True
    )
    print(f"{share:6.1f} % of {room.path}, {room.floor:g} asked")
    if share >= room.floor:
        return None
    return f"{room.path}: {share:.1f} % by its own tests, {room.floor:g} asked\n{lines.getvalue()}"


def main() -> int:
    """Run the rooms' own tests once, print each room's share; 1 if one is below its floor or has no tests."""
    found = rooms()
    problems = [f"{room.path}: no test file of its own" for room in found if not room.tests]
    meter = coverage.Coverage(
        data_file=None, branch=True, source=[str(ROOT / "llmcore"), str(ROOT / "intents")], config_file=False
    )
    meter.set_option("report:exclude_also", [r"if TYPE_CHECKING:", r"^\s+\.\.\.$", r"@abstractmethod"])
    meter.start()
    tests = sorted({test for room in found for test in room.tests})
    status = pytest.main(["-q", "-m", "not slow", "--no-header", *tests], plugins=[Contexts(meter)])
    meter.stop()
    problems += filter(None, (judge(meter, room) for room in found if room.tests))
    if status != pytest.ExitCode.OK:
        problems.append(f"the rooms' own tests ended with {status!r}")
    print("\n".join(problems) if problems else "rooms: all kept")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
