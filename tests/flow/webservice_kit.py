"""A web service with instances whose processes are real: a target `web@` for the tests of provisioning."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from tests.contract_kit import House

_CONTROL = """#!/bin/sh
# control ACTION NAME [REPLICAS]: each replica is a process, whose id is kept in a file of the instance
pids={folder}/$2.pids
alive() {{ [ -e "$pids" ] && for pid in $(cat "$pids"); do kill -0 "$pid" 2>/dev/null && echo "$pid"; done; true; }}
count() {{ alive | grep -c . ; true; }}
begin() {{ setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $! >> "$pids"; }}
case $1 in
  start) begin ;;
  stop) for pid in $(alive); do kill "$pid"; done; rm -f "$pids" ;;
  scale)
    [ -e {folder}/broken ] && {{ echo no room for more >&2; exit 7; }}
    while [ "$(count)" -lt "$3" ]; do begin; done
    while [ "$(count)" -gt "$3" ]; do kill "$(tail -n 1 "$pids")"; sed -i '$d' "$pids"; done ;;
  count) count ;;
  status) if [ "$(count)" -gt 0 ]; then echo running; else echo stopped; fi ;;
esac
"""


@dataclass
class WebService:
    """The target's side of the world."""

    folder: Path

    def __post_init__(self) -> None:
        """Write the program that controls it."""
        self.folder.mkdir()
        self.control = self.folder / "control"
        self.control.write_text(_CONTROL.format(folder=self.folder))
        self.control.chmod(0o755)

    def settings(self) -> dict[str, str]:
        """The setting of the target."""
        target = {action: [str(self.control), action, "%i"] for action in ("start", "stop", "status")}
        target["scale"] = [str(self.control), "scale", "%i", "{replicas}"]
        target["replicas"] = [str(self.control), "count", "%i"]
        return {"LLMCORE_SYSTEM__TARGETS": json.dumps({"web@": target})}

    def running(self, name: str) -> list[int]:
        """Ids of the processes of an instance that really run."""
        file = self.folder / f"{name}.pids"
        return [pid for pid in map(int, file.read_text().split()) if _alive(pid)] if file.exists() else []

    def end(self) -> None:
        """Kill what is left."""
        for file in self.folder.glob("*.pids"):
            for pid in self.running(file.stem):
                os.kill(pid, 9)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def house_with(folder: Path) -> tuple[House, WebService]:
    """A machine with the target, and a scripted model that nobody needs to ask."""
    house = House(folder / "house")
    service = WebService(folder / "web")
    house.more = service.settings()
    return house, service
