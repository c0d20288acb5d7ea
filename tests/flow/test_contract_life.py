"""The contract on a real server: first start, settings, restarts, the data folder, the audit chain."""

import json
import re
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.contract_kit import PASSWORD, PREFIX, House, check_numbers, hashed

SECRET = "sk-a-secret-that-nobody-may-see"


def bare(house: House, *without: str, **more: str) -> dict[str, str]:
    """The environment of a house without some settings."""
    return {name: text for name, text in house.environment().items() if name not in without} | more


# --- the first start ----------------------------------------------------------------------------------------------


def test_a_first_start_makes_a_password_and_prints_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It logs `administrator` in, on later starts too; everything is below the default data folder."""
    house = House(tmp_path / "house")
    kept = bare(house, "LLMCORE_ADMIN_PASSWORD")
    monkeypatch.setattr(house, "environment", lambda: kept)
    with house.open():
        assert house.url in house.said
        assert f"llmcore ready on {house.url}\n" in house.said
        (password,) = re.findall(r"administrator .*password (\S+)", house.said)
        assert house.form("/authorize", username="administrator", password=hashed(password)).status == 200
    with house.open():
        assert password not in house.said
        assert house.form("/authorize", username="administrator", password=hashed(password)).status == 200


def test_the_default_data_folder(tmp_path: Path) -> None:
    """`~/.local/share/llmcore`, or where `LLMCORE_DATA_DIR` says."""
    house = House(tmp_path / "house")
    answer = house.command("audit", "verify", LLMCORE_DATA_DIR=str(tmp_path / "other"))
    assert answer.returncode == 1
    assert str(house.folder / "home" / ".local" / "share" / "llmcore") in house.command("doctor").stdout


# --- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"LLMCORE_SERVER__PROT": "1"}, ["SERVER__PROT"]),
        ({"LLMCORE_SERVER__RATE_LIMIT": "many"}, ["server.rate_limit"]),
        ({"LLMCORE_LLM__PROVIDER": "openai"}, ["OPENAI_API_KEY"]),
        ({"LLMCORE_LLM__PROVIDER": "claude"}, ["ANTHROPIC_API_KEY"]),
        ({"LLMCORE_LLM__PROVIDER": "absent"}, ["llm.provider", "absent"]),
        ({"LLMCORE_LLM__PROVIDER": "local"}, ["base_url"]),
        ({"LLMCORE_STORE__URL": "mysql://x"}, ["store.url"]),
        ({"LLMCORE_POLICY__FILE": "/none/such.cedar"}, ["policy"]),
    ],
)
def test_what_is_wrong_with_the_settings_is_one_line(
    tmp_path: Path, settings: dict[str, str], words: list[str]
) -> None:
    """On stderr, with exit 2, naming the setting; nothing is served."""
    house = House(tmp_path / "house", settings)
    answer = house.command("serve", "--port", "0", "--data-dir", house.data)
    assert answer.returncode == 2, answer.stderr
    (line,) = answer.stderr.splitlines()
    for word in words:
        assert word.lower() in line.lower()
    assert "ready" not in answer.stdout


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"server": {"port": "x"}}', ["server.port"]),
        ("{", ["JSON"]),
        ('{"llm_provider": "openai", "openai_api_key": ""}', ["OPENAI_API_KEY"]),
    ],
)
def test_a_settings_file_that_is_wrong_is_one_line(tmp_path: Path, content: str, words: list[str]) -> None:
    """As well."""
    house = House(tmp_path / "house")
    (tmp_path / "settings.json").write_text(content)
    answer = house.command("serve", "--port", "0", "--config", tmp_path / "settings.json")
    assert answer.returncode == 2
    (line,) = answer.stderr.splitlines()
    for word in words:
        assert word.lower() in line.lower()


def test_a_key_alone_sends_nothing_out_and_is_never_shown(tmp_path: Path) -> None:
    """The provider stays `offline`; the start says how to switch one on."""
    house = House(tmp_path / "house", {"OPENAI_API_KEY": SECRET, "ANTHROPIC_API_KEY": SECRET})
    with house.open():
        assert "LLMCORE_LLM__PROVIDER" in house.said
        token = house.token()
        shown = [house.said, house.command("status", "--json", LLMCORE_TOKEN=token).stdout]
        shown += [
            house.command("doctor").stdout,
            house.get("/readyz").body.decode(),
            house.get("/metrics").body.decode(),
        ]
    status = json.loads(shown[1])
    assert status["provider"] == "offline"
    assert not any(SECRET in text for text in shown)


def test_the_flat_file_of_other_programs_is_taken(tmp_path: Path) -> None:
    """`llm_provider` and the keys."""
    house = House(tmp_path / "house")
    flat = {"llm_provider": "anthropic", "openai_api_key": SECRET, "anthropic_api_key": SECRET}
    (tmp_path / "flat.json").write_text(json.dumps(flat))
    with house.open("--config", str(tmp_path / "flat.json")):
        status = json.loads(house.command("status", "--json", LLMCORE_TOKEN=house.token()).stdout)
    assert status["provider"] == "anthropic"
    assert SECRET not in json.dumps(status) + house.said


# --- a restart ----------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_what_survives_a_restart(tmp_path: Path) -> None:
    """Tokens, users, conversations, waiting plans with their digest; topics begin a new epoch with snapshots."""
    house = House(tmp_path / "house")
    file = house.roots / "later.txt"
    file.write_text("x")
    topic = PREFIX + "survives"
    with house.open():
        token = house.token()
        async with house.person(token) as admin:
            talk = (await admin.data("chat_llm", prompt=f"delete the file {file}", topic=topic))["conversation_id"]
            end = await admin.end(topic)
            plan = (await admin.data("plan_get", plan_id=end["result"]["plan_id"]))["plan"]
            before = (await admin.data("conversation_get", conversation_id=talk))["conversation"]
            last = admin.seen(topic)[-1]["seq"]
            steps = [{"id": "s1", "intent": "create_folder", "params": {"path": str(house.roots / "later")}}]
            other = (await admin.data("chain", steps=steps))["plan"]
    with house.open():
        async with house.person(token) as admin:
            assert (await admin.data("conversation_get", conversation_id=talk))["conversation"] == before
            assert (await admin.data("plan_get", plan_id=plan["plan_id"]))["plan"] == plan
            resumed = await admin.data("stream_resume", topic=topic, after_seq=last, epoch=1)
            assert resumed["epoch"] == 2
            await admin.data("status")
            seen = admin.seen(topic)
            check_numbers(seen, epoch=2)
            assert seen[0]["event"]["type"] == "ACTIVITY_SNAPSHOT"
            assert seen[0]["event"]["content"] == plan
            assert seen[-1]["seq"] == resumed["last_seq"]
            await admin.data("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"])
            assert (await admin.end(topic))["outcome"] == {"type": "success"}
            check_numbers(admin.seen(topic), epoch=2)
            await admin.data("plan_approve", plan_id=other["plan_id"], digest=other["digest"])
            assert (await admin.end(other["topic"]))["outcome"] == {"type": "success"}
            check_numbers(admin.seen(other["topic"]), epoch=2)
            assert admin.events(other["topic"])[0]["type"] == "ACTIVITY_SNAPSHOT"
    assert not file.exists()
    assert (house.roots / "later").is_dir()


# --- audit --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A stopped server that has done something."""
    house = House(tmp_path_factory.mktemp("audited") / "house")
    with house.open():
        token = house.token()
        for text in ("which processes eat the memory?", "what time is it on this machine?"):
            assert house.command("ask", text, LLMCORE_TOKEN=token).returncode == 0
    return house


def test_everything_is_below_the_data_folder(audited: House) -> None:
    """The store is `llmcore.db`; nothing is written elsewhere; others may read nothing."""
    made = {path.name for path in audited.folder.iterdir()} - {"roots", "scripts", "home", "app.log"}
    assert made == {"data"}
    assert list((audited.folder / "home").iterdir()) == []
    assert (audited.data / "llmcore.db").is_file()
    assert (audited.data / "audit.head").is_file()
    assert stat.S_IMODE(audited.data.stat().st_mode) & 0o077 == 0
    with closing(sqlite3.connect(audited.data / "llmcore.db")) as store:
        dump = "".join(store.iterdump())
    assert PASSWORD not in dump
    assert hashed(PASSWORD) not in dump


def verified(house: House, data: Path) -> tuple[int, Any]:
    """Exit code and JSON of `audit verify`, without a server."""
    answer = house.command("audit", "verify", "--data-dir", data, "--json", LLMCORE_URL="")
    return answer.returncode, json.loads(answer.stdout)


def test_the_audit_table_has_its_columns(audited: House) -> None:
    """`audit(seq INTEGER PRIMARY KEY, record TEXT, hash TEXT)`, without gaps, each record JSON."""
    with closing(sqlite3.connect(audited.data / "llmcore.db")) as store:
        columns = [(row[1], row[2], row[5]) for row in store.execute("PRAGMA table_info(audit)")]
        rows = store.execute("SELECT seq, record, hash FROM audit ORDER BY seq").fetchall()
    assert columns == [("seq", "INTEGER", 1), ("record", "TEXT", 0), ("hash", "TEXT", 0)]
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    assert all(isinstance(json.loads(row[1]), dict) for row in rows)
    assert len({row[2] for row in rows}) == len(rows)
    assert verified(audited, audited.data) == (0, {"ok": True, "rows": len(rows), "first_bad": None})


@pytest.mark.parametrize(
    ("change", "bad"),
    [
        ("UPDATE audit SET record = replace(record, 'server', 'Server') WHERE seq = 1", 1),
        ("UPDATE audit SET hash = 'x' WHERE seq = 2", 2),
        ("DELETE FROM audit WHERE seq = 2", 2),
        ("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)", None),
        ("DELETE FROM audit WHERE seq > 1", None),
        ("DELETE FROM audit", None),
        ("INSERT INTO audit SELECT max(seq) + 1, '{}', 'x' FROM audit", None),
        ("INSERT INTO audit SELECT 0, '{}', 'x'", None),
    ],
)
def test_a_changed_chain_is_found(audited: House, tmp_path: Path, change: str, bad: int | None) -> None:
    """Edited, inserted, removed; the last rows too."""
    data = tmp_path / "data"
    shutil.copytree(audited.data, data)
    with closing(sqlite3.connect(data / "llmcore.db")) as store, store:
        assert store.execute(change).rowcount > 0
    code, found = verified(audited, data)
    assert code == 1
    assert found["ok"] is False
    assert set(found) == {"ok", "rows", "first_bad"}
    assert bad is None or found["first_bad"] == bad


def test_a_chain_without_its_head_is_not_believed(audited: House, tmp_path: Path) -> None:
    """The newest hash is kept beside the store."""
    data = tmp_path / "data"
    shutil.copytree(audited.data, data)
    (data / "audit.head").unlink()
    assert verified(audited, data)[0] == 1
