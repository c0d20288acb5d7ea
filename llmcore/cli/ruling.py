"""`llmcore policy check` and `policy explain`.

Called by `main`. Asks the policy as the server does, without one.
"""

import json
from argparse import Namespace
from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from llmcore.adapters.local import SystemClock
from llmcore.app.build import load_catalog, load_policy
from llmcore.app.options import attributes, zone
from llmcore.cli.exits import Exit, Usage
from llmcore.cli.local import settings_for
from llmcore.cli.terminal import one_line, print_json, sanitize
from llmcore.plan import Decision, Origin, Preview, Principal, Step
from llmcore.policy import Judge

_EXITS = {Decision.ALLOW: Exit.DONE, Decision.ASK: Exit.WAITS, Decision.DENY: Exit.REFUSED}


def check(args: Namespace) -> int:
    """Check a policy file against the catalogue; PolicyError names file, line, rule and reason."""
    settings = settings_for(args, {"policy.file": args.file and str(args.file)})
    policy = load_policy(settings, load_catalog(settings))
    source = str(settings.policy.file or "the default policy")
    if args.json:
        shown = {"cedar": policy.text} if args.show else {}
        print_json({"ok": True, "file": source, "version": policy.version, "rules": len(policy.rules), **shown})
    elif args.show:
        print(sanitize(policy.text), end="")
    else:
        print(f"{source} is right: {len(policy.rules)} rules, version {policy.version}.")
    return Exit.DONE


def explain(args: Namespace) -> int:
    """Say what policy decides for one step: exit 0 allowed, 4 asks first, 3 refused."""
    settings = settings_for(args)
    catalog = load_catalog(settings)
    intent = catalog.get(args.intent)
    params = _params(args.params)
    if params is not None:
        catalog.validate(intent.name, params)
    where = zone(settings)
    judge = Judge(load_policy(settings, catalog), attributes(settings), SystemClock(), where)
    judge = judge.at(_moment(args.time, where)) if args.time else judge
    step = Step(id="s1", intent=intent.name, params=params or {}, effect=intent.effect, preview=_preview(args))
    actor = Principal(name=args.user or f"some {args.role}", role=args.role, kind=args.kind, autonomy=args.autonomy)
    origin = Origin(kind=args.origin, id="explain", tainted=args.tainted)
    verdict = judge.verdict(step, actor, origin, args.approvals, args.confidence)
    if args.json:
        print_json(
            {
                "decision": verdict.decision.value,
                "rules": list(verdict.rules),
                "reason": verdict.reason,
                "would_allow": verdict.would_allow,
                "approvals": verdict.approvals,
                "roles": list(verdict.roles),
                "excludes_requester": verdict.excludes_requester,
            }
        )
    else:
        print(f"{verdict.decision.value}: {one_line(verdict.reason)}")
        print(f"rules: {one_line(', '.join(verdict.rules)) or 'none applies'}")
        if verdict.would_allow:
            print(f"would pass: {one_line(verdict.would_allow)}")
    return _EXITS[verdict.decision]


def _params(text: str | None) -> Mapping[str, Any] | None:
    """What `--params` holds; None where it was not given, so that nothing is known of them."""
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Usage("--params takes a JSON object.")
    return found


def _preview(args: Namespace) -> Preview | None:
    if not args.target and args.blast is None and args.owner is None:
        return None
    targets = tuple(args.target or ("",))
    blast = len(targets) if args.blast is None else args.blast
    return Preview(targets=targets, blast=blast, attributes={"owner": args.owner} if args.owner else {})


def _moment(text: str, where: tzinfo) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Usage("--time takes a moment such as 2026-01-31T08:30.") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=where)).timestamp()
