"""`llmcore eval`.

Called by `main`. Runs nothing but the planner.
"""

import asyncio
import json
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from llmcore.app.build import load_catalog
from llmcore.cli.exits import Exit, Usage
from llmcore.cli.local import OPERATOR, planner_for, settings_for, template_for
from llmcore.cli.terminal import one_line, print_json, table
from llmcore.planner.evaluation import Case, Report, read_cases
from llmcore.planner.evaluation import evaluate as score
from llmcore.settings import Settings

SHOWN_CONFUSIONS = 50


def evaluate(args: Namespace) -> int:
    """Plan every request of a file, write what was understood, report how much was right; exit 1 below `--min`."""
    if args.min is not None and not 0 <= args.min <= 1:
        raise Usage("--min is a share, from 0 to 1.")
    report, predictions = asyncio.run(_score(settings_for(args), _cases(args.file)))
    if args.out:
        args.out.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in predictions), "utf-8")
    figures = {field.name: getattr(report, field.name) for field in fields(report)}
    if args.json:
        print_json(figures)
    else:
        print(_text(figures))
    return Exit.FAILED if args.min is not None and (report.right or 0.0) < args.min else Exit.DONE


def _cases(file: Path) -> list[Case]:
    try:
        return read_cases(file.read_text("utf-8").splitlines())
    except UnicodeDecodeError:
        raise Usage(f"{file} is not text in UTF-8.") from None


async def _score(settings: Settings, cases: list[Case]) -> tuple[Report, list[dict[str, Any]]]:
    catalog = load_catalog(settings)
    async with planner_for(settings, catalog) as planner:
        return await score(cases, planner, catalog, OPERATOR, template_for(settings, catalog))


def _text(report: Mapping[str, Any]) -> str:
    facts = [
        [name.removesuffix("_s").replace("_", " "), _figure(name, value)]
        for name, value in report.items()
        if name not in ("confusion", "answered_by")
    ]
    parts = [table(["measure", "value"], facts)]
    parts.append(table(["answered by", "requests"], sorted(report["answered_by"].items())))
    wrong = report["confusion"]
    if wrong:
        rows = [
            [one["id"], one["text"], _joined(one["expected"]), _joined(one["got"])] for one in wrong[:SHOWN_CONFUSIONS]
        ]
        parts.append(table(["wrong", "request", "expected", "understood"], rows))
    if len(wrong) > SHOWN_CONFUSIONS:
        parts.append(f"{len(wrong) - SHOWN_CONFUSIONS} more are wrong; --json lists all.")
    return "\n\n".join(parts)


def _figure(name: str, value: Any) -> Any:
    if value is None:
        return "no such request"
    if name.endswith("_s"):
        return f"{value * 1000:.2f} ms"
    return f"{value:.1%}" if isinstance(value, float) else value


def _joined(value: Any) -> str:
    return one_line(value if isinstance(value, str) else " + ".join(map(str, value)), 80)
