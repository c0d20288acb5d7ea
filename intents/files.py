"""Intents about files and folders inside the allowed roots: look, read, write, copy, move, delete.

Found by the catalogue through the entry point `files`; asks the service `files` of the host, which alone decides what
is inside. Whatever a write or a deletion replaces is kept in a trash while it fits, so that it can be taken back: a
trash item is the source `trash:ID` of `move_file` and goes only to where it came from. Must not know who asks.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from llmcore.errors import NotFound
from llmcore.intent import Context, Effect, Preview, Undo, intent

_PATH = Field(min_length=1, max_length=4096)
Path = Annotated[str, "path of the file, absolute or below an allowed folder", _PATH]
Source = Annotated[str, "path of what is there now", _PATH]
Destination = Annotated[str, "path of where it shall go", _PATH]
Root = Annotated[str, "allowed folder, as listed by get_accessible_paths, or one below it", _PATH]


async def _preview_create_folder(path: str, *, ctx: Context) -> Preview:
    facts = await ctx.services["files"].facts(path)
    return Preview(targets=(facts["path"],), before=facts, after={"type": "folder"})


async def _undo_create_folder(path: str, *, before: Any, result: Any, ctx: Context) -> Undo | None:
    root, _, dirname = (made := _made(before, result)).rpartition("/")
    return Undo(intent="delete_folder", params={"root": root, "dirname": dirname}) if made else None


async def _verify_create_folder(path: str, *, ctx: Context) -> bool:
    return bool((await ctx.services["files"].facts(path)).get("type") == "folder")


async def _preview_copy(source: str, destination: str, *, ctx: Context) -> Preview:
    facts = await ctx.services["files"].transfer_facts(source, destination)
    return Preview(targets=(facts["destination"],), before=facts, after={"copied_from": facts["source"]})


async def _undo_copy(source: str, destination: str, *, before: Any, result: Any, ctx: Context) -> Undo | None:
    path = _text(_moved(before, result), "destination")
    return Undo(intent="delete_file", params={"path": path}) if path else None


async def _preview_move(source: str, destination: str, *, ctx: Context) -> Preview:
    facts = await ctx.services["files"].transfer_facts(source, destination)
    return Preview(targets=(facts["source"],), before=facts, after={"path": facts["destination"]})


async def _undo_move(source: str, destination: str, *, before: Any, result: Any, ctx: Context) -> Undo | None:
    there, back = (_text(_moved(before, result), end) for end in ("destination", "source"))
    if not there or back.startswith("trash:"):
        return None
    return Undo(intent="move_file", params={"source": there, "destination": back})


async def _preview_write(path: str, content: str, *, ctx: Context) -> Preview:
    before, after = await ctx.services["files"].write_facts(path, content)
    return Preview(targets=(before["path"],), before=before, after=after)


async def _undo_write(path: str, content: str, *, before: Any, result: Any, ctx: Context) -> Undo | None:
    made = _made(before, result)
    return Undo(intent="delete_file", params={"path": made}) if made else _from_trash(result)


async def _verify_write(path: str, content: str, *, ctx: Context) -> bool:
    before, after = await ctx.services["files"].write_facts(path, content)
    return bool(before.get("sha256") == after["sha256"])


async def _preview_delete(path: str, *, ctx: Context) -> Preview:
    facts = await ctx.services["files"].facts(path, must_exist=True)
    return Preview(targets=(facts["path"],), before=facts, after=_gone(facts))


def _gone(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a deletion leaves; says so where it is for good."""
    note = {} if facts.get("restorable") else {"note": "Deleted for good: this cannot be taken back."}
    return {"exists": False, **note}


def _promised(ctx: Context) -> bool | None:
    """Whether the preview that was decided on said that the deletion can be taken back; None if nobody saw one."""
    return bool(ctx.before.get("restorable")) if isinstance(ctx.before, Mapping) else None


async def _undo_deletion(*, before: Any, result: Any, ctx: Context, **_: Any) -> Undo | None:
    return _from_trash(result)


async def _verify_delete(path: str, *, ctx: Context) -> bool:
    return not (await ctx.services["files"].facts(path))["exists"]


async def _preview_delete_folder(root: str, dirname: str, delete_non_empty: bool = False, *, ctx: Context) -> Preview:
    facts = await ctx.services["files"].folder_facts(root, dirname)
    if not facts["exists"]:
        raise NotFound(f"There is no {facts['path']}.")
    blast = 1 + facts["files"] + facts["folders"]
    return Preview(targets=(facts["path"],), before=facts, after=_gone(facts), blast=blast)


async def _verify_delete_folder(root: str, dirname: str, delete_non_empty: bool = False, *, ctx: Context) -> bool:
    return not (await ctx.services["files"].folder_facts(root, dirname))["exists"]


def _text(result: Any, key: str) -> str:
    return value if isinstance(result, Mapping) and isinstance(value := result.get(key), str) else ""


def _made(before: Any, result: Any) -> str:
    """Path of what was made, or will be; empty if it is there already."""
    if isinstance(result, Mapping):
        return _text(result, "path") if result.get("created") else ""
    return _text(before, "path") if isinstance(before, Mapping) and not before.get("exists") else ""


def _moved(before: Any, result: Any) -> Any:
    """What was copied or moved where, or will be; None if something is in the way, which must stay."""
    if result is None and isinstance(before, Mapping) and before.get("destination_exists"):
        return None
    return result or before


def _from_trash(result: Any) -> Undo | None:
    item = _text(result, "trash_id")
    return Undo(intent="move_file", params={"source": f"trash:{item}", "destination": result["path"]}) if item else None


@intent(
    effect=Effect.READ,
    examples=[
        ("which folders can you access?", {}),
        ("what paths am I allowed to touch", {}),
        ("list the accessible paths", {}),
        ("show allowed folders", {}),
        ("which directories are open to you", {}),
        ("where can I put files?", {}),
        ("accessible roots please", {}),
        ("get accessible paths", {}),
        ("what parts of the file system can you see?", {}),
        ("tell me the root folders you work in", {}),
        ("which drives or folders may I browse", {}),
    ],
)
async def get_accessible_paths(*, ctx: Context) -> dict[str, Any]:
    """List the root folders that file intents may touch."""
    return {"paths": list(ctx.services["files"].roots)}


@intent(
    effect=Effect.READ,
    vocabulary={"root": "roots"},
    examples=[
        ("what's in /srv/www?", {"root": "/srv/www"}),
        ("ls /data", {"root": "/data"}),
        ("list the files in /var/reports", {"root": "/var/reports"}),
        ("show the folder images in /srv/www", {"root": "/srv/www", "path": "images"}),
        ("which files are in /home/ops/inbox", {"root": "/home/ops/inbox"}),
        ("dir /opt/app/releases", {"root": "/opt/app/releases"}),
        ("list content of /data, subfolder 2024/march", {"root": "/data", "path": "2024/march"}),
        ("please show me everything under /srv/share", {"root": "/srv/share"}),
        ("contents of the directory /etc/app", {"root": "/etc/app"}),
        ("what does the backups folder of /mnt/storage contain?", {"root": "/mnt/storage", "path": "backups"}),
        ("is there anything in /srv/incoming?", {"root": "/srv/incoming"}),
        ("browse /srv/media/photos", {"root": "/srv/media/photos"}),
        ("list logs/old inside /srv/app", {"root": "/srv/app", "path": "logs/old"}),
    ],
)
async def list_content(
    root: Root, path: Annotated[str, "folder below the root", Field(max_length=4096)] = "", *, ctx: Context
) -> dict[str, Any]:
    """List what is in a folder: names, types, sizes, times of change."""
    return dict(await ctx.services["files"].list(root, path))


@intent(
    effect=Effect.READ,
    examples=[
        ("show me /srv/www/index.html", {"path": "/srv/www/index.html"}),
        ("cat /etc/app/config.yaml", {"path": "/etc/app/config.yaml"}),
        ("read the file notes.txt", {"path": "notes.txt"}),
        ("what's in the file /data/orders.csv?", {"path": "/data/orders.csv"}),
        ("open reports/march.md", {"path": "reports/march.md"}),
        ("print /opt/app/VERSION please", {"path": "/opt/app/VERSION"}),
        ("let me see settings.ini", {"path": "settings.ini"}),
        ("display the contents of '/srv/share/team list.txt'", {"path": "/srv/share/team list.txt"}),
        ("can you read /home/ops/todo.md to me?", {"path": "/home/ops/todo.md"}),
        ("what does docker-compose.yml say", {"path": "docker-compose.yml"}),
        ("less /var/reports/daily.json", {"path": "/var/reports/daily.json"}),
        ("view file /srv/app/.env.example", {"path": "/srv/app/.env.example"}),
        ("content of crontab.bak", {"path": "crontab.bak"}),
    ],
)
async def read_file(path: Path, *, ctx: Context) -> dict[str, Any]:
    """Read a text file."""
    return dict(await ctx.services["files"].read(path))


@intent(
    effect=Effect.WRITE,
    idempotent=True,
    preview=_preview_create_folder,
    verify=_verify_create_folder,
    undo=_undo_create_folder,
    examples=[
        ("create a folder /srv/www/images", {"path": "/srv/www/images"}),
        ("mkdir /data/2025", {"path": "/data/2025"}),
        ("make a new directory reports", {"path": "reports"}),
        ("please add a folder called archive/old", {"path": "archive/old"}),
        ("new folder /home/ops/inbox", {"path": "/home/ops/inbox"}),
        ("I need a directory /opt/app/releases/v2", {"path": "/opt/app/releases/v2"}),
        ("create dir backups", {"path": "backups"}),
        ("set up the folder '/srv/share/team files'", {"path": "/srv/share/team files"}),
        ("could you create the directory /mnt/storage/photos?", {"path": "/mnt/storage/photos"}),
        ("make folder incoming/new", {"path": "incoming/new"}),
        ("create folder named exports", {"path": "exports"}),
    ],
)
async def create_folder(
    path: Annotated[str, "path of the new folder", Field(min_length=1, max_length=4096)], *, ctx: Context
) -> dict[str, Any]:
    """Create a folder; the one above it has to exist."""
    return dict(await ctx.services["files"].create_folder(path))


@intent(
    effect=Effect.WRITE,
    preview=_preview_copy,
    undo=_undo_copy,
    examples=[
        (
            "copy /srv/www/index.html to /srv/www/index.bak",
            {"source": "/srv/www/index.html", "destination": "/srv/www/index.bak"},
        ),
        ("cp config.yaml config.yaml.bak", {"source": "config.yaml", "destination": "config.yaml.bak"}),
        ("make a copy of /data/a.csv in /data/b.csv", {"source": "/data/a.csv", "destination": "/data/b.csv"}),
        ("duplicate notes.txt as notes-2.txt", {"source": "notes.txt", "destination": "notes-2.txt"}),
        ("please copy report.pdf into the folder outbox", {"source": "report.pdf", "destination": "outbox"}),
        ("back up /etc/app.conf to /etc/app.conf.old", {"source": "/etc/app.conf", "destination": "/etc/app.conf.old"}),
        (
            "can you copy the file logo.png to /srv/media/logo.png?",
            {"source": "logo.png", "destination": "/srv/media/logo.png"},
        ),
        ("copy from a/b.txt to c/d.txt", {"source": "a/b.txt", "destination": "c/d.txt"}),
        ("put a copy of users.json at /mnt/users.json", {"source": "users.json", "destination": "/mnt/users.json"}),
        ("clone template.html to landing.html", {"source": "template.html", "destination": "landing.html"}),
        ("save crontab as crontab.bak, keep the original", {"source": "crontab", "destination": "crontab.bak"}),
    ],
)
async def copy_file(source: Source, destination: Destination, *, ctx: Context) -> dict[str, Any]:
    """Copy a file; nothing that exists is overwritten."""
    return dict(await ctx.services["files"].copy(source, destination))


@intent(
    effect=Effect.DESTRUCTIVE,
    idempotent=True,
    preview=_preview_write,
    verify=_verify_write,
    undo=_undo_write,
    examples=[
        ("write 'hello' to /srv/www/index.html", {"path": "/srv/www/index.html", "content": "hello"}),
        ("create a file notes.txt with the text buy milk", {"path": "notes.txt", "content": "buy milk"}),
        (
            'save "maintenance until 6pm" in /srv/www/banner.txt',
            {"path": "/srv/www/banner.txt", "content": "maintenance until 6pm"},
        ),
        ("overwrite /opt/app/VERSION with 2.0.1", {"path": "/opt/app/VERSION", "content": "2.0.1"}),
        ("put the line 'debug=false' into settings.ini", {"path": "settings.ini", "content": "debug=false"}),
        ("echo 'ok' > /data/health", {"path": "/data/health", "content": "ok"}),
        (
            "please write the text 'see you monday' to reports/status.md",
            {"path": "reports/status.md", "content": "see you monday"},
        ),
        ("set the content of robots.txt to 'User-agent: *'", {"path": "robots.txt", "content": "User-agent: *"}),
        (
            'make a new file /home/ops/todo.md containing "rotate keys"',
            {"path": "/home/ops/todo.md", "content": "rotate keys"},
        ),
        ("replace everything in motd with 'Welcome aboard'", {"path": "motd", "content": "Welcome aboard"}),
        ("store 'on' in the file flags/beta", {"path": "flags/beta", "content": "on"}),
        ("file /etc/app/mode should say 'readonly'", {"path": "/etc/app/mode", "content": "readonly"}),
    ],
)
async def write_file(
    path: Path, content: Annotated[str, "the whole new content", Field(max_length=1_000_000)], *, ctx: Context
) -> dict[str, Any]:
    """Write a text file; what it held before is replaced."""
    return dict(await ctx.services["files"].write(path, content))


@intent(
    effect=Effect.DESTRUCTIVE,
    preview=_preview_move,
    undo=_undo_move,
    examples=[
        ("move /data/orders.csv to /data/old.csv", {"source": "/data/orders.csv", "destination": "/data/old.csv"}),
        ("mv draft.md final.md", {"source": "draft.md", "destination": "final.md"}),
        ("rename notes.txt to notes-old.txt", {"source": "notes.txt", "destination": "notes-old.txt"}),
        ("please move report.pdf into outbox", {"source": "report.pdf", "destination": "outbox"}),
        (
            "put /srv/incoming/a.zip in /srv/media/a.zip, do not keep the original",
            {"source": "/srv/incoming/a.zip", "destination": "/srv/media/a.zip"},
        ),
        ("change the name of config.yml to config.yaml", {"source": "config.yml", "destination": "config.yaml"}),
        ("shift logs/app.log to logs/old/app.log", {"source": "logs/app.log", "destination": "logs/old/app.log"}),
        (
            "can you rename /srv/www/index.html as /srv/www/home.html?",
            {"source": "/srv/www/index.html", "destination": "/srv/www/home.html"},
        ),
        ("relocate users.json to /mnt/users.json", {"source": "users.json", "destination": "/mnt/users.json"}),
        ("move the file from inbox/1.eml to done/1.eml", {"source": "inbox/1.eml", "destination": "done/1.eml"}),
        (
            "mv '/srv/old name.txt' '/srv/new name.txt'",
            {"source": "/srv/old name.txt", "destination": "/srv/new name.txt"},
        ),
    ],
)
async def move_file(source: Source, destination: Destination, *, ctx: Context) -> dict[str, Any]:
    """Move or rename a file or a folder; nothing that exists is overwritten."""
    return dict(await ctx.services["files"].move(source, destination))


@intent(
    effect=Effect.DESTRUCTIVE,
    frees_space=True,
    preview=_preview_delete,
    verify=_verify_delete,
    undo=_undo_deletion,
    examples=[
        ("delete /srv/www/old.html", {"path": "/srv/www/old.html"}),
        ("rm notes.txt", {"path": "notes.txt"}),
        ("remove the file /data/tmp/orders.csv", {"path": "/data/tmp/orders.csv"}),
        ("please get rid of draft.md", {"path": "draft.md"}),
        ("erase /home/ops/secret.txt", {"path": "/home/ops/secret.txt"}),
        ("can you delete the file backup-2023.tar.gz?", {"path": "backup-2023.tar.gz"}),
        ("trash reports/march.md", {"path": "reports/march.md"}),
        ("throw away '/srv/share/team list.txt'", {"path": "/srv/share/team list.txt"}),
        ("delet /opt/app/core.1234", {"path": "/opt/app/core.1234"}),
        ("drop the file dump.sql", {"path": "dump.sql"}),
        ("unlink /var/reports/daily.json", {"path": "/var/reports/daily.json"}),
        ("I don't need logs/app.log.1 any more, delete it", {"path": "logs/app.log.1"}),
    ],
)
async def delete_file(path: Path, *, ctx: Context) -> dict[str, Any]:
    """Delete a file."""
    return dict(await ctx.services["files"].delete(path, _promised(ctx)))


@intent(
    effect=Effect.DESTRUCTIVE,
    frees_space=True,
    vocabulary={"root": "roots"},
    preview=_preview_delete_folder,
    verify=_verify_delete_folder,
    undo=_undo_deletion,
    examples=[
        ("delete the folder old in /srv/www", {"root": "/srv/www", "dirname": "old"}),
        ("rmdir empty in /data", {"root": "/data", "dirname": "empty"}),
        ("delete the folder /srv/share/drafts", {"root": "/srv/share", "dirname": "drafts"}),
        ("rmdir /opt/app/old-release", {"root": "/opt/app", "dirname": "old-release"}),
        ("remove the directory tmp/cache below /opt/app", {"root": "/opt/app", "dirname": "tmp/cache"}),
        (
            "delete folder releases/v1 in /srv/app even if it is not empty",
            {"root": "/srv/app", "dirname": "releases/v1", "delete_non_empty": True},
        ),
        ("rm -r uploads in /srv/media", {"root": "/srv/media", "dirname": "uploads", "delete_non_empty": True}),
        ("please get rid of the folder drafts in /home/ops", {"root": "/home/ops", "dirname": "drafts"}),
        (
            "drop the directory 2022 from /data/archive with everything in it",
            {"root": "/data/archive", "dirname": "2022", "delete_non_empty": True},
        ),
        ("can you remove the empty folder inbox from /srv/share?", {"root": "/srv/share", "dirname": "inbox"}),
        (
            "erase directory photos under /mnt/storage including its contents",
            {"root": "/mnt/storage", "dirname": "photos", "delete_non_empty": True},
        ),
        ("in /var/reports delete the folder q1", {"root": "/var/reports", "dirname": "q1"}),
        ("delete folder build in root /srv/ci", {"root": "/srv/ci", "dirname": "build"}),
        (
            "wipe the subfolder old of /data, contents and all",
            {"root": "/data", "dirname": "old", "delete_non_empty": True},
        ),
    ],
)
async def delete_folder(
    root: Root,
    dirname: Annotated[str, "folder below the root", Field(min_length=1, max_length=4096)],
    delete_non_empty: Annotated[bool, "delete it with everything in it"] = False,
    *,
    ctx: Context,
) -> dict[str, Any]:
    """Delete a folder; one that is not empty only if that is said."""
    return dict(await ctx.services["files"].delete_folder(root, dirname, delete_non_empty, _promised(ctx)))
