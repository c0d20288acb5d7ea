"""`llmcore policy check` and `policy explain`.

Called by `main`. Asks the policy as the server does, without one.
"""

import json
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from llmcore.adapters.local import SystemClock
from llmcore.app.build import load_catalog, load_policy
from llmcore.app.options import attributes, zone
from llmcore.cli.exits import Exit, Usage
from llmcore.cli.local import settings_for
from llmcore.cli.terminal import one_line, print_json
from llmcore.plan import Decision, Origin, Principal, Step
from llmcore.policy import Judge

_EXITS = {Decision.ALLOW: Exit.DONE, Decision.ASK: Exit.WAITS, Decision.DENY: Exit.REFUSED}


def check(args: Namespace) -> int:
    """Check a policy file against the catalogue; PolicyError names the rule that is wrong."""
    settings = settings_for(args, {"policy.file": args.file and str(args.file)})
    policy = load_policy(settings, load_catalog(settings))
    source = str(settings.policy.file or "the default policy")
    if args.json:
        print_json({"ok": True, "file": source, "version": policy.version})
    else:
        print(f"{source} is right (version {policy.version}).")
    return Exit.DONE


def explain(args: Namespace) -> int:
    """Say what policy decides for one step: exit 0 allowed, 4 asks first, 3 refused."""
    settings = settings_for(args)
    catalog = load_catalog(settings)
    intent = catalog.get(args.intent)
    judge = Judge(load_policy(settings, catalog), attributes(settings), SystemClock(), zone(settings))
    step = Step(id="s1", intent=intent.name, params=_params(args.params), effect=intent.effect)
    actor = Principal(name=f"some {args.role}", role=args.role)
    origin = Origin(kind="chat", id="explain", tainted=args.tainted)
    verdict = judge.verdict(step, actor, origin, args.approvals)
    if args.json:
        facts = {"decision": verdict.decision.value, "rules": list(verdict.rules), "reason": verdict.reason}
        print_json(
            {**facts, "would_allow": verdict.would_allow, "approvals": verdict.approvals, "roles": verdict.roles}
        )
    else:
        print(f"{verdict.decision.value}: {one_line(verdict.reason)}")
        print(f"rules: {', '.join(verdict.rules) or 'none applies'}")
        if verdict.would_allow:
            print(f"would pass: {one_line(verdict.would_allow)}")
    return _EXITS[verdict.decision]


def _params(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Usage("--params takes a JSON object.")
    return found
