"""The size and shape of the code: long functions and modules, load-time cycles, lazy imports of our own modules.

Called by `scripts/lint`. Reads the sources only; imports none of them.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUNCTION, USUAL_FUNCTION, MODULE, TESTS = 60, 25, 400, 600
"""Lines at most: of a function, of nine functions in ten, of a module, of a module of tests."""
MAY_IMPORT_LATE = ("llmcore.cli", "llmcore.app", "llmcore.__main__")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> dict[str, Path]:
    """Module name, as the wheel has it, to file; helpers of the repository by their folder's name."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-dir"]
    folders = {**table, "tests": "tests", "scripts": "scripts", "benchmarks": "benchmarks"}
    found = {}
    for name, folder in folders.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = file.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join([name, *(parts[:-1] if parts[-1] == "__init__" else parts)])] = file
    return found


def lengths(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    """Name, line and length of every function."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1


def imports(nodes: list[ast.stmt], known: set[str]) -> Iterator[tuple[str, int]]:
    """What of our own these statements import when they run, not what only types need nor what functions import."""
    for node in nodes:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield from own_names(node, known)
        for block in ("body", "orelse", "finalbody"):
            if not isinstance(node, Function):
                yield from imports(getattr(node, block, []), known)


def own_names(node: ast.AST, known: set[str]) -> Iterator[tuple[str, int]]:
    """The modules of ours that one import statement names."""
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        names = [name if name in known else node.module for name in names]
    yield from ((name, node.lineno) for name in names if name in known)  # type: ignore[attr-defined]


def cycles(graph: dict[str, set[str]]) -> Iterator[str]:
    """The first load-time cycle, if there is one."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield "modules load each other: " + " -> ".join(error.args[1])


def module_findings(name: str, file: Path, tree: ast.Module, known: set[str]) -> Iterator[str]:
    """What is too long or imported late in one module."""
    where = file.relative_to(ROOT)
    lines = len(file.read_text("utf-8").splitlines())
    limit = TESTS if name.startswith("tests.") else MODULE
    if lines > limit:
        yield f"{where}: {lines} lines, {limit} at most"
    for function, line, length in lengths(tree):
        if length > FUNCTION:
            yield f"{where}:{line}: {function} has {length} lines, {FUNCTION} at most"
    if name.startswith("llmcore") and not name.startswith(MAY_IMPORT_LATE):
        for function_node in (node for node in ast.walk(tree) if isinstance(node, Function)):
            for imported, line in {found for node in ast.walk(function_node) for found in own_names(node, known)}:
                yield f"{where}:{line}: {imported} is imported inside {function_node.name}"


def findings() -> Iterator[str]:
    """Everything that breaks a limit."""
    files = sources()
    trees = {name: ast.parse(file.read_text("utf-8")) for name, file in files.items()}
    product = {name for name in files if name.startswith("llmcore")}
    for name, tree in trees.items():
        yield from module_findings(name, files[name], tree, product)
    yield from cycles({name: {found for found, _ in imports(trees[name].body, product)} - {name} for name in product})
    sizes = sorted(length for name in product for _, _, length in lengths(trees[name]))
    usual = sizes[len(sizes) * 9 // 10]
    if usual > USUAL_FUNCTION:
        yield f"one function in ten has {usual} lines or more, {USUAL_FUNCTION} at most"
    print(f"{len(files)} modules, {len(sizes)} functions of the product, nine in ten have at most {usual} lines")


def main() -> int:
    """Print the findings; 1 if there are any."""
    found = list(findings())
    print("\n".join(found) if found else "sizes: all kept")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
