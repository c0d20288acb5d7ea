"""Intents about the machine itself: load, memory, disks, network, time, versions, processes. All of them only read.

Found by the catalogue through the entry point `system`; asks the service `system` of the host. Must not know how the
figures are measured, who asks, or policy.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from llmcore.intent import Context, Effect, intent


@intent(
    effect=Effect.READ,
    examples=[
        ("how is the server doing?", {}),
        ("system overview", {}),
        ("give me a quick health summary of this machine", {}),
        ("is the box under load right now?", {}),
        ("overall stats please", {}),
        ("how busy is this host", {}),
        ("show cpu, memory and disk at a glance", {}),
        ("what's the state of the system?", {}),
        ("how long has this machine been up?", {}),
        ("uptime", {}),
        ("what is the load average", {}),
        ("could you summarise the resource usage of the server for me", {}),
        ("sys stats", {}),
        ("is everything ok with the machine?", {}),
    ],
)
async def get_system_stats(*, ctx: Context) -> dict[str, Any]:
    """Overview of the machine: operating system, uptime, load, CPU, memory, disks and network in one answer."""
    return dict(await ctx.services["system"].stats())


@intent(
    effect=Effect.READ,
    examples=[
        ("cpu usage?", {}),
        ("how busy is the processor", {}),
        ("how much cpu is being used right now", {}),
        ("show me the cpu load per core", {}),
        ("is the CPU maxed out?", {}),
        ("get cpu stats", {}),
        ("what's the processor utilisation at the moment", {}),
        ("how many cores does this server have?", {}),
        ("please check the cpu", {}),
        ("cpu percent", {}),
        ("are we short of cpu?", {}),
        ("tell me the clock speed and number of cores", {}),
        ("how hot is the cpu running, load wise", {}),
    ],
)
async def get_cpu_stats(*, ctx: Context) -> dict[str, Any]:
    """CPU of the machine: usage in percent, overall and per core, number of cores, frequency, load averages."""
    return dict(await ctx.services["system"].cpu())


@intent(
    effect=Effect.READ,
    examples=[
        ("how much memory is free?", {}),
        ("ram usage", {}),
        ("show memory stats", {}),
        ("are we running out of RAM?", {}),
        ("how much swap is in use", {}),
        ("what percentage of the memory is used", {}),
        ("free -m", {}),
        ("check the memory please", {}),
        ("how many gigabytes of ram does this box have", {}),
        ("memory status?", {}),
        ("is the machine swapping?", {}),
        ("tell me how much RAM is left", {}),
        ("available memory", {}),
    ],
)
async def get_memory_stats(*, ctx: Context) -> dict[str, Any]:
    """Memory (RAM) and swap of the machine: total, used, free and available bytes, used percent."""
    return dict(await ctx.services["system"].memory())


@intent(
    effect=Effect.READ,
    examples=[
        ("how full are the disks", {}),
        ("disk usage", {}),
        ("df -h", {}),
        ("how much space is left on the drive?", {}),
        ("are we running out of disk space?", {}),
        ("show free space on all partitions", {}),
        ("what's the storage situation", {}),
        ("is the root filesystem full?", {}),
        ("get disk stats please", {}),
        ("which mount has the least space left", {}),
        ("how many gigs are free", {}),
        ("check the hard disk", {}),
        ("list mounted filesystems and how full they are", {}),
    ],
)
async def get_disk_stats(*, ctx: Context) -> dict[str, Any]:
    """Disk space of every mounted file system: total, used and free bytes, used percent."""
    return dict(await ctx.services["system"].disks())


@intent(
    effect=Effect.READ,
    examples=[
        ("network traffic", {}),
        ("how much data went over the network", {}),
        ("show the network interfaces", {}),
        ("what is the ip address of this host?", {}),
        ("bandwidth usage right now", {}),
        ("is eth0 up?", {}),
        ("get network stats", {}),
        ("any dropped packets or network errors?", {}),
        ("how many bytes were sent and received", {}),
        ("ifconfig", {}),
        ("what's our upload and download rate at the moment", {}),
        ("please show network usage per interface", {}),
        ("how busy is the network card", {}),
    ],
)
async def get_network_stats(*, ctx: Context) -> dict[str, Any]:
    """Network of the machine: interfaces, addresses, bytes sent and received, current rates, errors and drops."""
    return dict(await ctx.services["system"].network())


@intent(
    effect=Effect.READ,
    examples=[
        ("what time is it?", {}),
        ("server time", {}),
        ("what's today's date on the server", {}),
        ("which timezone is this machine in?", {}),
        ("current time please", {}),
        ("date", {}),
        ("show the system clock", {}),
        ("what time does the host think it is", {}),
        ("tell me the time in UTC", {}),
        ("get system time", {}),
        ("is the clock right? what does it say", {}),
    ],
)
async def get_system_time(*, ctx: Context) -> dict[str, Any]:
    """Date, time and time zone of the machine, local and UTC."""
    return dict(await ctx.services["system"].time())


@intent(
    effect=Effect.READ,
    examples=[
        ("what version is running?", {}),
        ("which version of the software is this", {}),
        ("software version", {}),
        ("what os is installed here?", {}),
        ("which kernel are we on", {}),
        ("show version info", {}),
        ("uname -a", {}),
        ("what python version does this use?", {}),
        ("llmcore version please", {}),
        ("is this the latest release? what do we have installed", {}),
        ("tell me the operating system and its version", {}),
        ("get software version", {}),
    ],
)
async def get_software_version(*, ctx: Context) -> dict[str, Any]:
    """Versions of this software, of Python, of the operating system and of its kernel."""
    return dict(await ctx.services["system"].version())


@intent(
    effect=Effect.READ,
    vocabulary={"name": "processes"},
    examples=[
        ("is there a process called nginx?", {"name": "nginx"}),
        ("check process redis-server", {"name": "redis-server"}),
        ("is the postgres process alive", {"name": "postgres"}),
        ("what's the pid of sshd?", {"name": "sshd"}),
        ("pgrep java", {"name": "java"}),
        ("how many php-fpm processes are there", {"name": "php-fpm"}),
        ("do we have any python3 process running?", {"name": "python3"}),
        ("see whether the process mysqld exists", {"name": "mysqld"}),
        ("has the dockerd process died?", {"name": "dockerd"}),
        ("find the process named celery", {"name": "celery"}),
        ("please check if cron is among the running processes", {"name": "cron"}),
        ("process prometheus alive?", {"name": "prometheus"}),
        ("ps aux | grep gunicorn", {"name": "gunicorn"}),
        ("look for 'node_exporter' in the process list", {"name": "node_exporter"}),
    ],
)
async def check_process(
    name: Annotated[str, "name of the program, such as nginx or sshd", Field(min_length=1, max_length=255)],
    *,
    ctx: Context,
) -> dict[str, Any]:
    """Tell whether a process of this name is running on the machine, how many there are, and their ids."""
    return dict(await ctx.services["system"].check_process(name))


@intent(
    effect=Effect.READ,
    examples=[
        ("which processes eat the memory?", {"sort_by": "memory"}),
        ("show the top 5 processes by cpu", {"sort_by": "cpu", "limit": 5}),
        ("list running processes", {}),
        ("what is hogging the cpu?", {"sort_by": "cpu"}),
        ("ps", {}),
        ("top 10 memory consumers", {"sort_by": "memory", "limit": 10}),
        ("who is using all the RAM", {"sort_by": "memory"}),
        ("give me the three processes that burn the most cpu", {"sort_by": "cpu", "limit": 3}),
        ("what's running on this machine?", {}),
        ("processes sorted by memory please", {"sort_by": "memory"}),
        ("show 20 processes", {"limit": 20}),
        ("find out which program makes the processor so busy", {"sort_by": "cpu"}),
        ("top", {}),
        ("biggest ram hog", {"sort_by": "memory", "limit": 1}),
    ],
)
async def list_processes(
    sort_by: Annotated[Literal["cpu", "memory"], "what to sort by, biggest first"] = "cpu",
    limit: Annotated[int | None, "how many processes at most", Field(ge=1, le=10_000)] = None,
    *,
    ctx: Context,
) -> dict[str, Any]:
    """List the running processes with their user, CPU and memory use, the biggest consumers first."""
    return dict(await ctx.services["system"].processes(sort_by=sort_by, limit=limit))
