"""Processes to be measured: start, CPU time, memory, stop.

Used by all benchmarks. Reads `/proc`, so it needs Linux; knows nothing of what a process does.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A server that is ready."""

    pid: int
    port: int
    said: str
    """What it printed until it was ready."""

    def cpu_ns(self) -> int:
        """CPU time of all its threads so far; other processes' load hardly moves it, unlike wall time."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text("ascii").split()[0]) for task in tasks)

    def memory_kib(self) -> int:
        """Proportional set size: what the process adds to the machine's use of memory."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text("ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


@contextmanager
def running(*command: str, environment: Mapping[str, str] | None = None) -> Iterator[Process]:
    """The process from the line that ends in `ready on http://HOST:PORT` to the end of the block."""
    child = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=sys.stderr, text=True
    )
    assert child.stdout
    said = []
    try:
        for line in child.stdout:
            said.append(line)
            if "ready on http://" in line:
                break
        else:
            raise RuntimeError(f"{command} stopped: {''.join(said)}")
        yield Process(child.pid, int(line.rpartition(":")[2]), "".join(said))
    finally:
        child.terminate()
        child.communicate()


@contextmanager
def python(module: str, *args: str) -> Iterator[Process]:
    """A module of ours as a process."""
    with running(sys.executable, "-m", module, *args) as process:
        yield process
