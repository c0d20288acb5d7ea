"""`llmcore doctor` and `llmcore providers test`.

Called by `main`. Looks, says what to do, changes nothing.
"""

import asyncio
from argparse import Namespace
from collections.abc import Iterable

from llmcore.app import options
from llmcore.app.build import load_catalog, load_policy
from llmcore.cli.exits import Exit
from llmcore.cli.findings import Finding, host_findings, server_findings, store_findings
from llmcore.cli.local import model_for, settings_for
from llmcore.cli.terminal import print_json, sanitize
from llmcore.errors import LLMCoreError
from llmcore.providers import LLMManager
from llmcore.settings import Settings

QUESTION = "Reply with the one word: ready"
_SIGNS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


def doctor(args: Namespace) -> int:
    """Check everything a server needs; exit 1 if something would keep it from working."""
    try:
        settings = settings_for(args)
    except LLMCoreError as error:
        return _told([Finding("fail", "settings", error.message)], as_json=args.json)
    found = [Finding("ok", "settings", f"complete{f', with {args.config}' if args.config else ''}")]
    for look in (store_findings, _rules, host_findings, server_findings):
        found += look(settings)
    return _told([*found, *_models(settings, online=args.online)], as_json=args.json)


def providers(args: Namespace) -> int:
    """Ask each provider that is switched on one short question; exit 1 if one does not answer."""
    return _told(_models(settings_for(args), online=True), as_json=args.json)


def _rules(settings: Settings) -> Iterable[Finding]:
    try:
        catalog = load_catalog(settings)
    except LLMCoreError as error:
        yield Finding("fail", "catalog", error.message)
        return
    yield Finding("ok", "packs", f"{len(catalog)} intents")
    try:
        found = options.templates(settings, catalog)
    except LLMCoreError as error:
        yield Finding("fail", "templates", error.message)
    else:
        yield Finding("ok", "templates", f"{len(found)} in files")
    try:
        policy = load_policy(settings, catalog)
    except LLMCoreError as error:
        yield Finding("fail", "policy", error.message)
        return
    yield Finding("ok", "policy", f"{settings.policy.file or 'the default policy'}, version {policy.version}")


def _models(settings: Settings, *, online: bool) -> list[Finding]:
    try:
        manager = model_for(settings)
    except LLMCoreError as error:
        return [Finding("fail", "providers", error.message)]
    if settings.llm.chain == ("offline",):
        return [Finding("ok", "providers", settings.llm.notice or "offline: requests are understood locally")]
    if not online:
        return [
            Finding(
                "ok",
                f"provider {name}",
                f"set up ({settings.llm.of(name).model or 'its default model'}); --online asks it",
            )
            for name in settings.llm.chain
        ]
    return asyncio.run(_asked(manager, settings.llm.chain))


async def _asked(manager: LLMManager, names: Iterable[str]) -> list[Finding]:
    try:
        return [await _answer(manager, name) for name in names if name != "offline"]
    finally:
        await manager.aclose()


async def _answer(manager: LLMManager, name: str) -> Finding:
    try:
        text = await manager.generate_response(QUESTION, provider=name, max_tokens=16)
    except LLMCoreError as error:
        return Finding("fail", f"provider {name}", error.message)
    return Finding("ok", f"provider {name}", f"answers: {' '.join(sanitize(text).split())[:60]}")


def _told(findings: Iterable[Finding], *, as_json: bool) -> Exit:
    found = list(findings)
    failed = any(one.status == "fail" for one in found)
    if as_json:
        print_json(
            {
                "ok": not failed,
                "checks": [{"status": one.status, "name": one.name, "message": one.message} for one in found],
            }
        )
    else:
        print("\n".join(f"{_SIGNS[one.status]}  {one.name}: {sanitize(one.message)}" for one in found))
    return Exit.FAILED if failed else Exit.DONE
