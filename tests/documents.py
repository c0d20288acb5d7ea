"""Helpers of the test of the documents: find the commands in a page, run them in one shell as a reader would.

In a fence `sh` every line is a command; in a fence `console` those after `$ ` are, and the lines below are what they
print, where `...` stands for anything. A command has to succeed unless the next one is `echo $?`. A server runs in the
background from its ready line until the next server or the end of the page. `<!-- not run: reason -->` before a fence
leaves it out. Pages say port 8000; the test takes a free one.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>.+?) -->\n+)?^```(?P<kind>sh|console)\n(?P<body>.*?)^```$", re.M | re.S
)
VALUE = r"""(?:'[^']*'|"(?:\\.|[^"\\])*"|[^\s'"])+"""
SERVER = re.compile(rf"(?:\w+={VALUE} )*(?:scripts/run|llmcore serve)\b(?!.*--help)")
END = "--- end of a command: "
BACKGROUND = """
kill -TERM $SERVER 2>/dev/null && wait $SERVER 2>/dev/null
exec 9< <(exec 2>&1; {command}); SERVER=$!
while read -r line <&9; do echo "$line"; [[ $line == "llmcore ready on "* ]] && break; done
cat <&9 >/dev/null &
[[ $line == "llmcore ready on "* ]]
"""


@dataclass
class Command:
    """One command of a page and what the page says that it prints."""

    text: str
    printed: list[str] = field(default_factory=list)


def left_out(page: str) -> list[str]:
    """The reasons of the fences that are not run."""
    return [match["reason"] for match in FENCE.finditer(page) if match["reason"]]


def commands(page: str) -> Iterator[Command]:
    """All commands of a page, in order."""
    for match in FENCE.finditer(page):
        if not match["reason"]:
            body = match["body"].replace("\\\n", "")
            yield from (_session(body) if match["kind"] == "console" else map(Command, _whole(body)))


def _session(body: str) -> list[Command]:
    """The commands of a fence that also shows what they print."""
    found: list[Command] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:]))
        elif found:
            found[-1].printed.append(line)
    return found


def _whole(body: str) -> Iterator[str]:
    """The commands of a script: lines, with here-documents kept in one piece."""
    lines = iter(body.splitlines())
    for line in lines:
        end = re.search(r"<<'?(\w+)'?", line)
        if end:
            rest = []
            for more in lines:
                rest.append(more)
                if more == end[1]:
                    break
            yield "\n".join([line, *rest])
        elif line.strip() and not line.startswith("#"):
            yield line


class Shell:
    """One bash that keeps its folder, variables and server from command to command."""

    def __init__(self, folder: Path, environment: Mapping[str, str], port: int) -> None:
        """Start in `folder`."""
        self._port = str(port)
        self._busy = False
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[str, int]:
        """What it printed, and its exit code."""
        assert self._bash.stdin
        assert self._bash.stdout
        text = command.replace("127.0.0.1:8000", f"127.0.0.1:{self._port}")
        if SERVER.match(command):
            text = BACKGROUND.replace("{command}", f"exec env {text}")
        self._bash.stdin.write(f"{{ {text}\n}} </dev/null\nlast=$?; echo; echo '{END}'$last; (exit $last)\n")
        self._bash.stdin.flush()
        self._busy = True
        lines: list[str] = []
        for line in self._bash.stdout:
            if line.startswith(END):
                self._busy = False
                lines = "".join(lines).removesuffix("\n").splitlines()
                return "\n".join(lines).replace(f":{self._port}", ":8000"), int(line.removeprefix(END))
            lines.append(line)
        raise AssertionError(f"the shell ended in {command!r}: {''.join(lines)}")

    def close(self) -> None:
        """Stop the server and the shell."""
        if self._busy:
            os.killpg(self._bash.pid, signal.SIGKILL)
        elif self._bash.poll() is None:
            self.run("[ -z $SERVER ] || { kill -TERM $SERVER; wait $SERVER; }")
        self._bash.communicate()


def run_page(page: str, shell: Shell) -> int:
    """Run all commands; their number. Raises AssertionError with the command that fails or prints something else."""
    todo = list(commands(page))
    for place, command in enumerate(todo):
        printed, code = shell.run(command.text)
        asked = place + 1 < len(todo) and todo[place + 1].text == "echo $?"
        assert code == 0 or asked, f"$ {command.text}\n{printed}\n(exit code {code})"
        if command.printed:
            expected = "\n".join(command.printed).strip()
            pattern = ".*?".join(re.escape(part) for part in expected.split("..."))
            found = re.fullmatch(pattern, printed.strip(), re.DOTALL)
            assert found, f"$ {command.text}\nthe page says:\n{expected}\nbut:\n{printed}"
    return len(todo)
