"""The pack `system` on this very machine: figures that are true, with units in their names."""

import asyncio
import os
import platform
import time
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest

from llmcore.adapters.host import System, system
from llmcore.adapters.host.system import _Look, _rates
from llmcore.adapters.local import SystemClock
from llmcore.errors import TimedOut
from tests.clocks import HandClock
from tests.machine import Machine

BUSY = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """This one."""
    return Machine(tmp_path)


@pytest.mark.asyncio
async def test_everything_at_once(machine: Machine) -> None:
    """The parts are those of the single intents, and of the topic /stats."""
    found = await machine.do("get_system_stats")
    assert found.keys() == {"os", "cpu", "memory", "disk", "network"}
    assert found["os"]["hostname"] == platform.node()
    assert found["os"]["uptime_s"] > 0
    snapshot = await machine.services["system"].snapshot()
    assert snapshot.keys() == found.keys()
    assert all(snapshot[part].keys() == found[part].keys() for part in found)


@pytest.mark.asyncio
async def test_what_was_seen_before_is_a_series(machine: Machine) -> None:
    """Of processor and memory, oldest first, once there is enough of it."""
    assert "points" not in await machine.do("get_cpu_stats")
    for _ in range(3):
        await machine.services["system"].snapshot()
    for intent, part, name in (
        ("get_cpu_stats", "cpu", "usage_percent"),
        ("get_memory_stats", "memory", "used_percent"),
    ):
        found = await machine.do(intent)
        assert found["unit"] == "percent"
        assert len(found["points"]) == 3
        assert all(0 <= point["value"] <= 100 and point["at"].endswith("Z") for point in found["points"])
        assert name in found, part


@pytest.mark.asyncio
async def test_cpu_figures_are_measured(machine: Machine) -> None:
    """Each core between 0 and 100, and the whole is their mean."""
    found = await machine.do("get_cpu_stats")
    assert len(found["usage_percent_per_core"]) == found["cores_logical"] == os.cpu_count()
    assert all(0 <= one <= 100 for one in found["usage_percent_per_core"])
    assert found["usage_percent"] == pytest.approx(sum(found["usage_percent_per_core"]) / os.cpu_count(), abs=0.1)
    assert {"load_1m", "load_5m", "load_15m", "frequency_mhz", "cores_physical"} <= found.keys()


@pytest.mark.asyncio
async def test_memory_disks_and_network(machine: Machine) -> None:
    """Against what the operating system says."""
    memory = await machine.do("get_memory_stats")
    assert memory["total_bytes"] == psutil.virtual_memory().total
    assert 0 < memory["used_percent"] < 100
    (root,) = [one for one in (await machine.do("get_disk_stats"))["disks"] if one["mount"] == "/"]
    assert root["total_bytes"] == psutil.disk_usage("/").total
    (loopback,) = [one for one in (await machine.do("get_network_stats"))["interfaces"] if one["name"] == "lo"]
    assert "127.0.0.1" in loopback["addresses"]
    assert loopback["up"]
    assert loopback["sent_bytes_per_s"] >= 0


@pytest.mark.asyncio
async def test_the_time_is_the_clocks(tmp_path: Path) -> None:
    """UTC and local, as in the contract."""
    machine = await asyncio.to_thread(Machine, tmp_path, HandClock(1_700_000_000.0))
    found = await machine.do("get_system_time")
    assert found["utc"] == "2023-11-14T22:13:20Z"
    assert found["epoch_s"] == 1_700_000_000.0
    assert found["uptime_s"] == 0, "a clock before the start of the machine"
    assert found["utc_offset_s"] == time.localtime(1_700_000_000).tm_gmtoff


@pytest.mark.asyncio
async def test_versions(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this software, Python, system, kernel; also where the system has no name of its own."""
    found = await machine.do("get_software_version")
    assert found["python"] == platform.python_version()
    assert found["llmcore"]
    assert platform.release() in found["kernel"]

    def nameless() -> dict[str, str]:
        raise OSError

    monkeypatch.setattr(platform, "freedesktop_os_release", nameless)
    assert (await machine.do("get_software_version"))["os"] == "Linux"


@pytest.mark.asyncio
async def test_processes_are_listed_as_the_contract_says(machine: Machine) -> None:
    """This test is among them; sorted and limited as asked."""
    everything = (await machine.do("list_processes"))["processes"]
    assert all(one.keys() == {"pid", "name", "user", "cpu_percent", "memory_bytes"} for one in everything)
    assert os.getpid() in {one["pid"] for one in everything}
    top = (await machine.do("list_processes", sort_by="memory", limit=3))["processes"]
    assert [one["memory_bytes"] for one in top] == sorted((one["memory_bytes"] for one in top), reverse=True)
    assert len(top) == 3


@pytest.mark.asyncio
async def test_a_busy_process_is_found_by_its_cpu(machine: Machine) -> None:
    """Measured, not summed up since its start."""
    process = await asyncio.create_subprocess_exec("python3", "-c", BUSY)
    try:
        for _ in range(20):
            found = (await machine.do("list_processes", sort_by="cpu"))["processes"]
            busy = next(one for one in found if one["pid"] == process.pid)
            if busy["cpu_percent"] > 5:
                break
        assert busy["cpu_percent"] > 5
    finally:
        process.kill()
        await process.wait()


@pytest.mark.asyncio
async def test_a_process_is_found_by_its_names(machine: Machine, tmp_path: Path) -> None:
    """Its own, its program's, the script that an interpreter runs; otherwise it is not running."""
    script = tmp_path / "llmcore-test-worker"
    script.write_text("import time\ntime.sleep(600)\n")
    process = await asyncio.create_subprocess_exec("python3", str(script))
    try:
        found: dict[str, Any] = {}
        while not found.get("running"):
            found = await machine.do("check_process", name="LLMCORE-test-worker")
        assert (found["count"], found["processes"][0]["pid"]) == (1, process.pid)
        assert "cpu_percent" not in found["processes"][0]
    finally:
        process.kill()
        await process.wait()
    assert await machine.do("check_process", name="llmcore-test-worker") == {
        "name": "llmcore-test-worker",
        "running": False,
        "count": 0,
        "processes": [],
    }


@pytest.mark.asyncio
async def test_names_of_processes_are_kept_for_word_lists() -> None:
    """Looked at again after a while by the snapshot."""
    clock = HandClock()
    service = System(clock)
    earlier = service.process_names
    assert earlier == ()
    await service.snapshot()
    assert len(service.process_names) > 0
    clock.time += 3600
    process = await asyncio.create_subprocess_exec("sleep", "600")
    try:
        await service.snapshot()
        assert "sleep" in service.process_names
    finally:
        process.kill()
        await process.wait()


def test_rates_are_differences_over_time() -> None:
    """Counters that go back or appear are no traffic; a core without time is idle."""
    before = _Look(0.0, ((1.0, 10.0), (5.0, 10.0)), {"eth0": (1000, 100), "wrapped": (500, 500)})
    after = _Look(2.0, ((2.0, 12.0), (5.0, 10.0)), {"eth0": (3000, 100), "wrapped": (0, 0), "new": (10**9, 10**9)})
    found = _rates(before, after)
    assert found.core_percents == (50.0, 0.0)
    assert found.traffic == {"eth0": (1000.0, 0.0), "wrapped": (0.0, 0.0), "new": (0.0, 0.0)}


@pytest.mark.asyncio
async def test_a_machine_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a mount whose server is gone."""
    stuck = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang() -> None:
        asyncio.run_coroutine_threadsafe(stuck.wait(), loop).result()

    monkeypatch.setattr(system, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(system, "_disks", hang)
    with pytest.raises(TimedOut):
        await System(SystemClock()).disks()
    stuck.set()


@pytest.mark.asyncio
async def test_disks_that_may_not_be_seen_and_second_names_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for one file system."""
    part = type("Part", (), {})
    parts = []
    for mount, device in (("/none/such", "/dev/x"), ("/", "/dev/y"), ("/tmp", "/dev/y")):  # noqa: S108 - a mount
        one = part()
        one.mountpoint, one.device, one.fstype = mount, device, "ext4"
        parts.append(one)
    monkeypatch.setattr(psutil, "disk_partitions", lambda: parts)
    assert [one["mount"] for one in (await System(SystemClock()).disks())["disks"]] == ["/"]


@pytest.mark.asyncio
async def test_asking_often_costs_one_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty at once wait for the same one."""
    looks: list[float] = []
    real = psutil.cpu_times

    def counted(percpu: Literal[True]) -> Any:
        looks.append(0)
        return real(percpu)

    monkeypatch.setattr(psutil, "cpu_times", counted)
    service = System(HandClock())
    await asyncio.gather(*(service.cpu() for _ in range(20)))
    assert len(looks) == 2


@pytest.mark.asyncio
async def test_a_recent_look_is_the_other_end_of_a_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting then; one that is too old is not used."""
    naps: list[float] = []
    clock = HandClock()
    service = System(clock)

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        clock.time += seconds

    monkeypatch.setattr(asyncio, "sleep", nap)
    await service.cpu()
    clock.time += 5
    await service.cpu()
    assert len(naps) == 1
    clock.time += 100
    await service.cpu()
    assert len(naps) == 2
    for passed, waits in ((0.0, 3), (10.0, 3), (100.0, 4)):
        clock.time += passed
        await service.processes()
        assert len(naps) == waits
