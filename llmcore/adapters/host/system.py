"""Figures of the machine: CPU, memory, disks, network, time, versions, processes.

Behind the intents of the pack `system`, as the service `system`, and behind the topic `/stats`. Everything is read in
worker threads. What is a rate (CPU use, traffic) is measured over the time since the last look where that is recent,
else over a short moment. Must not know who asks.
"""

import asyncio
import os
import platform
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal, TypeVar

import psutil

from llmcore.adapters.host.contents import when
from llmcore.adapters.host.processlist import ProcessList
from llmcore.errors import TimedOut
from llmcore.ports import Clock

_T = TypeVar("_T")
_MOMENT_S = 0.15
"""Over what time rates are measured if there was no recent look."""
_RECENT_S = 15.0
_FRESH_S = 0.5
"""How long a measured rate stands for the present."""
_NAMES_S = 30.0
_KEPT = 240
"""Snapshots that are remembered: twelve minutes at one every three seconds."""
_SERIES = 3
"""Fewer points are no series."""
_PATIENCE_S = 8.0
"""A mount that does not answer holds up nobody longer than this."""


@dataclass(frozen=True, slots=True)
class _Look:
    at: float
    cores: tuple[tuple[float, float], ...]
    """Busy and total seconds of each core."""
    traffic: Mapping[str, tuple[int, int]]
    """Bytes sent and received by each interface."""


@dataclass(frozen=True, slots=True)
class _Rates:
    at: float
    core_percents: tuple[float, ...]
    traffic: Mapping[str, tuple[float, float]]
    """Bytes a second sent and received by each interface."""


class System:
    """The service `system`."""

    def __init__(self, clock: Clock) -> None:
        """Look at nothing yet."""
        self._clock = clock
        self._last: _Look | None = None
        self._rates: _Rates | None = None
        self._measuring = asyncio.Lock()
        self._list = ProcessList(clock)
        self._booted = 0.0
        self._history: deque[tuple[str, float, float]] = deque(maxlen=_KEPT)

    @property
    def process_names(self) -> tuple[str, ...]:
        """Names of processes as of the last look; empty before the first."""
        return self._list.names

    def look(self) -> None:
        """Learn the names of the processes, and when the machine started. Call it in a thread."""
        self._list.look()
        self._booted = psutil.boot_time()

    async def snapshot(self) -> dict[str, Any]:
        """`{os, cpu, memory, disk, network}` for the topic `/stats`."""
        if self._list.age_s > _NAMES_S:
            await _read(self.look)
        stats = await self.stats()
        used = (stats["cpu"]["usage_percent"], stats["memory"]["used_percent"])
        self._history.append((when(self._clock.now()), *used))
        return stats

    async def stats(self) -> dict[str, Any]:
        """All of it: `{os, cpu, memory, disk, network}`, each as the method of its name gives it."""
        rates = await self._measured()
        cpu, network = await _read(lambda: _cpu(rates.core_percents)), await self.network()
        system, memory, disk = await self._os(), await _read(_memory), await self.disks()
        return {"os": system, "cpu": cpu, "memory": memory, "disk": disk, "network": network}

    async def cpu(self) -> dict[str, Any]:
        """Use of all cores together and of each, their number, MHz, load averages; `points` of the last minutes."""
        rates = await self._measured()
        return {**await _read(lambda: _cpu(rates.core_percents)), **self._points(1)}

    async def memory(self) -> dict[str, Any]:
        """Memory and swap in bytes and percent; `points` of the last minutes."""
        return {**await _read(_memory), **self._points(2)}

    def _points(self, column: Literal[1, 2]) -> dict[str, Any]:
        """The last snapshots as a series: `{"unit", "points": [{"at", "value"}]}`, oldest first."""
        if len(self._history) < _SERIES:
            return {}
        return {"unit": "percent", "points": [{"at": entry[0], "value": entry[column]} for entry in self._history]}

    async def disks(self) -> dict[str, Any]:
        """`{"disks": [{mount, device, filesystem, total_bytes, used_bytes, free_bytes, used_percent}]}`."""
        return await _read(_disks)

    async def network(self) -> dict[str, Any]:
        """`{"interfaces": [...]}` with addresses, counters and present rates in bytes a second."""
        rates = await self._measured()
        return await _read(lambda: _network(rates.traffic))

    async def time(self) -> dict[str, Any]:
        """The clock: UTC, local time, zone, seconds since 1970 and since the start of the machine."""
        now = self._clock.now()
        booted = self._booted or await _read(psutil.boot_time)
        local = datetime.fromtimestamp(now, UTC).astimezone()
        offset = local.utcoffset()
        return {
            "utc": when(now),
            "local": local.isoformat(timespec="seconds"),
            "timezone": local.tzname(),
            "utc_offset_s": int(offset.total_seconds()) if offset is not None else 0,
            "epoch_s": now,
            "uptime_s": max(0, int(now - booted)),
        }

    async def version(self) -> dict[str, Any]:
        """Versions of this software, Python, operating system, kernel."""
        return await _read(_versions)

    async def check_process(self, name: str) -> dict[str, Any]:
        """`{name, running, count, processes}` of the processes of exactly this program, upper and lower case alike."""
        found = await _read(lambda: self._list.named(name))
        return {"name": name, "running": bool(found), "count": len(found), "processes": found}

    async def processes(self, *, sort_by: str = "cpu", limit: int | None = None) -> dict[str, Any]:
        """`{"processes": [{pid, name, user, cpu_percent, memory_bytes}]}`, biggest first; 100 % is one core."""
        if self._list.age_s > _RECENT_S:
            await _read(self.look)
        if self._list.age_s < _MOMENT_S:
            await asyncio.sleep(_MOMENT_S)
        rows = await _read(self._list.look)
        key = "memory_bytes" if sort_by == "memory" else "cpu_percent"
        rows = sorted(rows, key=lambda row: (-row[key], row["pid"]))
        return {"processes": rows[:limit]}

    async def _os(self) -> dict[str, Any]:
        now = self._clock.now()
        return await _read(lambda: _os_facts(now))

    async def _measured(self) -> _Rates:
        async with self._measuring:
            if self._rates is not None and self._clock.monotonic() - self._rates.at < _FRESH_S:
                return self._rates
            before = self._last
            if before is None or not _MOMENT_S <= self._clock.monotonic() - before.at <= _RECENT_S:
                before = await _read(self._look)
                await asyncio.sleep(_MOMENT_S)
            self._last = await _read(self._look)
            self._rates = _rates(before, self._last)
            return self._rates

    def _look(self) -> _Look:
        traffic = {name: (one.bytes_sent, one.bytes_recv) for name, one in _counters().items()}
        return _Look(self._clock.monotonic(), tuple(map(_busy, psutil.cpu_times(percpu=True))), traffic)


async def _read(work: Callable[[], _T]) -> _T:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await asyncio.to_thread(work)
    except TimeoutError as error:
        raise TimedOut(f"The machine did not give its figures within {_PATIENCE_S:g} s.") from error


def _counters() -> Mapping[str, Any]:
    return psutil.net_io_counters(pernic=True)


def _busy(times: Any) -> tuple[float, float]:
    fields = times._asdict()
    total = sum(fields.values()) - fields.get("guest", 0.0) - fields.get("guest_nice", 0.0)  # part of user and nice
    return total - fields["idle"] - fields.get("iowait", 0.0), total


def _rates(before: _Look, after: _Look) -> _Rates:
    cores = []
    for (busy, total), (earlier_busy, earlier_total) in zip(after.cores, before.cores, strict=False):
        passed = total - earlier_total
        share = (busy - earlier_busy) / passed if passed > 0 else 0.0
        cores.append(round(min(1.0, max(0.0, share)) * 100, 1))
    seconds = max(after.at - before.at, _MOMENT_S)
    traffic = {}
    for name, (sent, received) in after.traffic.items():
        earlier_sent, earlier_received = before.traffic.get(name, (sent, received))
        traffic[name] = (max(0.0, sent - earlier_sent) / seconds, max(0.0, received - earlier_received) / seconds)
    return _Rates(after.at, tuple(cores), traffic)


def _cpu(percents: tuple[float, ...]) -> dict[str, Any]:
    megahertz = getattr(psutil.cpu_freq(), "current", None)  # None on some virtual machines
    load_1m, load_5m, load_15m = (round(load, 2) for load in os.getloadavg())
    return {
        "usage_percent": round(sum(percents) / max(1, len(percents)), 1),
        "usage_percent_per_core": list(percents),
        "cores_logical": psutil.cpu_count(),
        "cores_physical": psutil.cpu_count(logical=False),
        "frequency_mhz": megahertz and round(megahertz),
        "load_1m": load_1m,
        "load_5m": load_5m,
        "load_15m": load_15m,
    }


def _memory() -> dict[str, Any]:
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return {
        "total_bytes": memory.total,
        "used_bytes": memory.used,
        "available_bytes": memory.available,
        "free_bytes": memory.free,
        "used_percent": memory.percent,
        "swap_total_bytes": swap.total,
        "swap_used_bytes": swap.used,
        "swap_free_bytes": swap.free,
        "swap_used_percent": swap.percent,
    }


def _disks() -> dict[str, Any]:
    mounts = {"/": ("", "")}
    mounts.update({part.mountpoint: (part.device, part.fstype) for part in psutil.disk_partitions()})
    devices: set[str] = set()
    disks = []
    for mount, (device, filesystem) in sorted(mounts.items()):
        if device and device in devices:
            continue  # the same file system bound to a second place
        try:
            usage = psutil.disk_usage(mount)
        except OSError:
            continue  # not ours to see
        devices.add(device)
        disks.append(
            {
                "mount": mount,
                "device": device,
                "filesystem": filesystem,
                "total_bytes": usage.total,
                "used_bytes": usage.used,
                "free_bytes": usage.free,
                "used_percent": usage.percent,
            }
        )
    return {"disks": disks}


def _network(rates: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    states, addresses = psutil.net_if_stats(), psutil.net_if_addrs()
    families = {"AF_INET", "AF_INET6"}
    interfaces = []
    for name, counter in sorted(_counters().items()):
        state = states.get(name)
        sent, received = rates.get(name, (0.0, 0.0))
        interfaces.append(
            {
                "name": name,
                "up": bool(state and state.isup),
                "speed_mbit_s": (state.speed or None) if state else None,
                "addresses": [one.address for one in addresses.get(name, ()) if one.family.name in families],
                "sent_bytes": counter.bytes_sent,
                "received_bytes": counter.bytes_recv,
                "sent_bytes_per_s": round(sent, 1),
                "received_bytes_per_s": round(received, 1),
                "errors": counter.errin + counter.errout,
                "dropped": counter.dropin + counter.dropout,
            }
        )
    return {"interfaces": interfaces}


def _versions() -> dict[str, Any]:
    return {
        "llmcore": version("cloudisense-llmcore"),
        "python": platform.python_version(),
        "os": _os_name(),
        "kernel": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
    }


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _os_facts(now: float) -> dict[str, Any]:
    booted = psutil.boot_time()
    return {
        "hostname": platform.node(),
        "name": _os_name(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "booted_at": when(booted),
        "uptime_s": max(0, int(now - booted)),
    }
