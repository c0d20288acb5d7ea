"""The pack `services` with commands that are real programs and with a systemctl that notes what it is asked."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from llmcore.adapters.host import Target, entry_of
from llmcore.errors import BadParams, Conflict, LLMCoreError, NotFound, OutcomeUnknown
from tests.machine import ANNA, Machine, script

SYSTEMCTL = """#!/bin/sh
python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$@" >> {folder}/asked
case "$*" in
  show*) cat {folder}/state ;;
  *start*) echo active > {folder}/state ;;
  *stop*) echo inactive > {folder}/state; [ -e {folder}/broken ] && echo "no such unit" && exit 5 ;;
esac
exit 0
"""


async def machine_with(folder: Path, **options: Any) -> Machine:
    """A shop that is a file while it runs and keeps its size in another, and a target that can do nothing."""
    flag, size = folder / "shop.running", folder / "shop.size"
    shop = Target(
        start=("/usr/bin/touch", str(flag)),
        stop=("/bin/rm", str(flag)),
        status=("/usr/bin/test", "-e", str(flag)),
        scale=("/bin/sh", "-c", f"echo $1 > {size}", "sh", "{replicas}"),
        replicas=("/bin/cat", str(size)),
        attributes={"production": True},
    )
    targets = {"shop": shop, "bare": Target(), **options.pop("targets", {})}
    settings = {"status_timeout_s": 30.0, "settle_s": 0.2, "poll_s": 0.01, **options}
    return await asyncio.to_thread(Machine, folder, options={"targets": {"targets": targets, **settings}})


@pytest.mark.asyncio
async def test_a_service_is_started_stopped_restarted(tmp_path: Path) -> None:
    """And its state told as the contract says."""
    machine = await machine_with(tmp_path)
    assert await machine.do("get_target_status", module="SHOP") == {"module": "shop", "state": "stopped"}
    assert await machine.do("start_target", module="shop") == {"module": "shop", "state": "running"}
    assert await machine.do("restart_target", module="shop") == {"module": "shop", "state": "running"}
    assert await machine.do("stop_target", module="shop") == {"module": "shop", "state": "stopped"}
    listed = (await machine.do("list_targets"))["targets"]
    assert listed == [
        {"name": "shop", "kind": "commands", "state": "stopped", "scalable": True, "attributes": {"production": True}},
        {"name": "bare", "kind": "systemd", "state": "unknown", "scalable": False, "attributes": {}},
    ]


@pytest.mark.asyncio
async def test_a_preview_shows_and_changes_nothing_and_an_undo_goes_back(tmp_path: Path) -> None:
    """To where it was; nothing to undo where nothing would change."""
    machine = await machine_with(tmp_path)
    preview = await machine.preview("start_target", module="shop")
    assert preview.targets == ("shop",)
    assert preview.before == {"module": "shop", "state": "stopped", "attributes": {"production": True}}
    assert preview.after == {"state": "running"}
    assert not (tmp_path / "shop.running").exists()
    await machine.do("start_target", module="shop")
    undo = await machine.caller.undo_of("start_target", {"module": "shop"}, preview.before, None, ANNA)
    assert undo is not None
    await machine.do(undo.intent, **undo.params)
    assert not (tmp_path / "shop.running").exists()
    assert await machine.caller.undo_of("stop_target", {"module": "shop"}, preview.before, None, ANNA) is None
    running = (await machine.preview("stop_target", module="bare")).before | {"state": "running"}
    undo = await machine.caller.undo_of("stop_target", {"module": "bare"}, running, None, ANNA)
    assert undo is not None
    assert undo.intent == "start_target"


@pytest.mark.asyncio
async def test_verify_waits_for_the_state_that_was_asked_for(tmp_path: Path) -> None:
    """But not for ever."""
    machine = await machine_with(tmp_path)
    asked = {"module": "shop"}
    assert await machine.caller.verify("start_target", asked, ANNA) is False
    assert await machine.caller.verify("stop_target", asked, ANNA) is True
    await machine.do("start_target", module="shop")
    assert await machine.caller.verify("restart_target", asked, ANNA) is True


@pytest.mark.asyncio
async def test_a_service_is_scaled_and_scaled_back(tmp_path: Path) -> None:
    """The number stands where the settings say; what was before is asked."""
    machine = await machine_with(tmp_path)
    asked = {"module": "shop", "replicas": 5}
    preview = await machine.preview("scale_target", **asked)
    assert (preview.before["replicas"], preview.after) == (None, {"replicas": 5})
    assert await machine.caller.undo_of("scale_target", asked, preview.before, None, ANNA) is None
    assert await machine.do("scale_target", **asked) == asked
    preview = await machine.preview("scale_target", module="shop", replicas=7)
    await machine.do("scale_target", module="shop", replicas=7)
    undo = await machine.caller.undo_of("scale_target", asked | {"replicas": 7}, preview.before, None, ANNA)
    assert undo is not None
    await machine.do(undo.intent, **undo.params)
    assert (tmp_path / "shop.size").read_text() == "5\n"
    (tmp_path / "shop.size").write_text("many")
    assert (await machine.preview("scale_target", **asked)).before["replicas"] is None


@pytest.mark.asyncio
async def test_what_the_settings_do_not_say_cannot_be_done(tmp_path: Path) -> None:
    """No command, no service of that name."""
    machine = await machine_with(tmp_path)
    for intent in ("start_target", "restart_target"):
        with pytest.raises(Conflict, match="has no `st"):
            await machine.do(intent, module="bare")
    with pytest.raises(Conflict, match="cannot be scaled"):
        await machine.do("scale_target", module="bare", replicas=2)
    assert (await machine.preview("scale_target", module="bare", replicas=2)).before["replicas"] is None
    with pytest.raises(NotFound, match="Did you mean shop"):
        await machine.do("stop_target", module="shopp")


@pytest.mark.asyncio
async def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    """Exit code and the end of what it wrote."""
    machine = await machine_with(tmp_path)
    with pytest.raises(LLMCoreError, match="shop could not be stopped") as caught:
        await machine.do("stop_target", module="shop")
    assert caught.value.details["exit_code"] == 1
    assert "No such file" in caught.value.details["output"]


@pytest.mark.asyncio
async def test_a_command_that_does_not_end_leaves_the_outcome_open(tmp_path: Path) -> None:
    """Nobody can say what it has done."""
    stuck = Target(start=("/bin/sleep", "600"), status=("/bin/sleep", "600"))
    machine = await machine_with(tmp_path, targets={"stuck": stuck}, action_timeout_s=0.2)
    with pytest.raises(OutcomeUnknown, match="To start stuck"):
        await machine.do("start_target", module="stuck")


@pytest.mark.parametrize(
    ("code", "state"),
    [(0, "running"), (1, "stopped"), (3, "stopped"), (2, "unknown"), (4, "unknown"), (127, "unknown")],
)
@pytest.mark.asyncio
async def test_the_exit_code_of_a_status_command_is_the_state(tmp_path: Path, code: int, state: str) -> None:
    """As init scripts have it, and `pgrep`."""
    machine = await machine_with(tmp_path, targets={"x": Target(status=("/bin/sh", "-c", f"exit {code}"))})
    assert (await machine.do("get_target_status", module="x"))["state"] == state


@pytest.mark.parametrize(("said", "state"), [("stopped", "stopped"), ("failed", "failed"), ("4711", "running")])
@pytest.mark.asyncio
async def test_a_state_that_a_status_command_prints_counts(tmp_path: Path, said: str, state: str) -> None:
    """More than its exit code."""
    machine = await machine_with(tmp_path, targets={"x": Target(status=("/bin/echo", said))})
    assert (await machine.do("get_target_status", module="x"))["state"] == state


@pytest.mark.asyncio
async def test_a_status_that_cannot_be_asked_is_unknown(tmp_path: Path) -> None:
    """Too slow, or not there."""
    slow, gone = Target(status=("/bin/sleep", "600")), Target(status=("/none/such",), replicas=("/none/such",))
    machine = await machine_with(tmp_path, targets={"slow": slow, "gone": gone}, status_timeout_s=0.2)
    for name in ("slow", "gone"):
        assert (await machine.do("get_target_status", module=name))["state"] == "unknown"
    assert (await machine.preview("scale_target", module="gone", replicas=1)).before["replicas"] is None


@pytest.mark.asyncio
async def test_systemd_units_are_handled_by_systemctl(tmp_path: Path) -> None:
    """With words that cannot be taken for options, and no password prompt."""
    script(tmp_path / "bin" / "systemctl", SYSTEMCTL.format(folder=tmp_path))
    (tmp_path / "state").write_text("inactive\n")
    path = f"{tmp_path}/bin:/usr/local/bin:/usr/bin:/bin"
    machine = await machine_with(tmp_path, targets={"web": Target(unit="nginx.service")}, env={"PATH": path})
    states = []
    for words, state in (("activating", "unknown"), ("failed", "failed"), ("reloading", "running"), ("", "unknown")):
        (tmp_path / "state").write_text(f"{words}\n")
        states.append(((await machine.do("get_target_status", module="web"))["state"], state))
    assert all(found == state for found, state in states)
    assert (await machine.do("start_target", module="web"))["state"] == "running"
    assert (await machine.do("restart_target", module="web"))["state"] == "running"
    (tmp_path / "broken").touch()
    with pytest.raises(LLMCoreError, match="exit code 5") as caught:
        await machine.do("stop_target", module="web")
    assert caught.value.details["output"] == "no such unit\n"
    asked = [json.loads(line) for line in (tmp_path / "asked").read_text().splitlines()]
    assert ["show", "--property=ActiveState", "--value", "--", "nginx.service"] in asked
    assert [line for line in asked if line[0] != "show"] == [
        ["--no-ask-password", action, "--", "nginx.service"] for action in ("start", "restart", "stop")
    ]


@pytest.mark.asyncio
async def test_facts_for_policy_are_told_without_asking_the_machine(tmp_path: Path) -> None:
    """Of known services; nothing of unknown ones."""
    targets = (await machine_with(tmp_path)).services["targets"]
    assert targets.attributes("shop") == {"production": True}
    assert targets.attributes("nobody") == {}


async def machine_with_instances(folder: Path) -> Machine:
    """A target whose instances are files while they run, one of its own beside them, and a unit with instances."""
    web = Target(
        start=("/usr/bin/touch", f"{folder}/%i.running"),
        stop=("/bin/rm", f"{folder}/%i.running"),
        status=("/usr/bin/test", "-e", f"{folder}/%i.running"),
        scale=("/bin/sh", "-c", f"echo $1 > {folder}/%i.size", "sh", "{replicas}"),
        replicas=("/bin/cat", f"{folder}/%i.size"),
        attributes={"production": True},
    )
    own = Target(status=("/bin/echo", "failed"))
    systemctl = script(folder / "bin" / "systemctl", SYSTEMCTL.format(folder=folder))
    targets = {"web@": web, "web@odd": own, "unit@": Target(unit="unit@%i.service")}
    return await machine_with(folder, targets=targets, env={"PATH": f"{systemctl.parent}:/usr/bin:/bin"})


@pytest.mark.asyncio
async def test_a_target_stands_for_instances(tmp_path: Path) -> None:
    """As a template unit of systemd does: the instance's name takes the place of `%i`."""
    machine = await machine_with_instances(tmp_path)
    assert await machine.do("start_target", module="web@shop") == {"module": "web@shop", "state": "running"}
    assert (tmp_path / "shop.running").exists()
    assert await machine.do("get_target_status", module="WEB@shop") == {"module": "web@shop", "state": "running"}
    assert await machine.do("get_target_status", module="web@blog") == {"module": "web@blog", "state": "stopped"}
    await machine.do("scale_target", module="web@shop", replicas=3)
    preview = await machine.preview("scale_target", module="web@shop", replicas=2)
    assert (preview.targets, preview.before["replicas"]) == (("web@shop",), 3)
    assert preview.before["attributes"] == {"production": True}
    assert await machine.do("stop_target", module="web@shop") == {"module": "web@shop", "state": "stopped"}
    assert await machine.do("get_target_status", module="web@odd") == {"module": "web@odd", "state": "failed"}
    await machine.do("start_target", module="unit@a-b")
    asked = [json.loads(line) for line in (tmp_path / "asked").read_text().splitlines()]
    assert ["--no-ask-password", "start", "--", "unit@a-b.service"] in asked


@pytest.mark.asyncio
async def test_a_target_with_instances_is_listed_once(tmp_path: Path) -> None:
    """Under its own name; nobody can say how all of them are."""
    machine = await machine_with_instances(tmp_path)
    listed = {one["name"]: one for one in (await machine.do("list_targets"))["targets"]}
    assert listed["web@"] == {
        "name": "web@",
        "kind": "commands",
        "state": "unknown",
        "scalable": True,
        "attributes": {"production": True},
        "instances": True,
    }
    assert "instances" not in listed["web@odd"]
    assert (listed["unit@"]["kind"], listed["unit@"]["instances"]) == ("systemd", True)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "module", ["web@", "web@a/b", "web@../x", "web@-rf x", "web@a@b", "web@%i", "web@a\n", f"web@{'x' * 65}", "unit@ä"]
)
async def test_the_name_of_an_instance_is_checked(tmp_path: Path, module: str) -> None:
    """It goes into commands: letters, digits, `_` and `-`, and there has to be one."""
    machine = await machine_with_instances(tmp_path)
    with pytest.raises(BadParams, match="must name an instance"):
        await machine.do("start_target", module=module)
    assert not await asyncio.to_thread(lambda: list(tmp_path.glob("*.running")))


@pytest.mark.asyncio
async def test_instances_of_nothing_are_not_found(tmp_path: Path) -> None:
    """Neither of an unknown target nor of one without instances."""
    machine = await machine_with_instances(tmp_path)
    for module in ("mail@x", "shop@x", "@x", "web"):
        with pytest.raises(NotFound):
            await machine.do("start_target", module=module)


def test_attributes_are_those_of_the_setting() -> None:
    """However a name is written: policy judges an instance by what its target is."""
    known = ["web@", "web@odd", "shop"]
    assert {name: entry_of(name, known) for name in ("web@shop", "WEB@Shop", "web@odd", "SHOP", "shop@x", "mail")} == {
        "web@shop": "web@",
        "WEB@Shop": "web@",
        "web@odd": "web@odd",
        "SHOP": "shop",
        "shop@x": None,
        "mail": None,
    }
