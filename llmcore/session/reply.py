"""What is said and shown about the results of steps: displays for the panel, Markdown for everybody else.

Called by the flow. Built from results alone, so it cannot claim what did not happen; no model takes part. Everything in
a result is data: it is put into table cells and code blocks, never between the words of a sentence.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from llmcore.plan import Plan, Step, StepResult, StepState

MAX_ROWS = 20
"""Rows of a table in the text; the display has all."""
MAX_CELL = 120
MAX_TEXT = 4_000

_LABELS = {"_bytes": "", "_percent": " %", "_s": ""}
"""Suffix of a name -> what stands for it in a heading; the unit is in the cells."""


def display_of(result: Any) -> dict[str, Any]:
    """How a result is best looked at: table, series, fields or text."""
    rows = _rows(result)
    if rows is not None:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        return {"kind": "table", "columns": columns, "rows": [[row.get(key) for key in columns] for row in rows]}
    if isinstance(result, Mapping):
        points = result.get("points")
        if isinstance(points, list) and points and all(isinstance(point, Mapping) for point in points):
            return _series(result, points)
        long = next((key for key in ("content", "output", "text") if isinstance(result.get(key), str)), None)
        if long is not None:
            rest = [[key, value] for key, value in result.items() if key != long]
            return {"kind": "text", "text": result[long], "fields": rest}
        if isinstance(result.get("lines"), list):
            rest = [[key, value] for key, value in result.items() if key != "lines"]
            return {"kind": "text", "text": "\n".join(map(_line, result["lines"])), "fields": rest}
        return {"kind": "fields", "fields": [[key, value] for key, value in result.items()]}
    return {"kind": "text", "text": "" if result is None else str(result)}


def _rows(result: Any) -> list[Mapping[str, Any]] | None:
    """The one list of objects (or of plain values) that a result is about, if it is about one."""
    lists = [result] if isinstance(result, list) else []
    if isinstance(result, Mapping):
        lists = [value for key, value in result.items() if isinstance(value, list) and key not in ("lines", "points")]
        if len(lists) == 1 and len(result) > 3:
            return None
    if len(lists) != 1:
        return None
    if all(isinstance(item, Mapping) for item in lists[0]):
        return lists[0]
    if all(isinstance(item, str | int | float) for item in lists[0]):
        name = "value" if isinstance(result, list) else next(key for key, value in result.items() if value is lists[0])
        return [{name: item} for item in lists[0]]
    return None


def _series(result: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "kind": "series",
        "unit": str(result.get("unit", "")),
        "labels": [point.get("at", number) for number, point in enumerate(points)],
        "values": [point.get("value") for point in points],
        "fields": [[key, value] for key, value in result.items() if key not in ("points", "unit")],
    }


def _line(line: Any) -> str:
    return str(line.get("text", line)) if isinstance(line, Mapping) else str(line)


def results_of(plan: Plan, results: Mapping[str, StepResult]) -> list[dict[str, Any]]:
    """One entry a settled step, as `RUN_FINISHED.result.results` has them."""
    return [
        {
            "step_id": step.id,
            "intent": step.intent,
            "state": results[step.id].state.value,
            "display": display_of(results[step.id].result),
            **({"error": dict(error)} if (error := results[step.id].error) else {}),
        }
        for step in plan.steps
        if step.id in results and results[step.id].state is not StepState.SKIPPED
    ]


def text_of(plan: Plan, results: Mapping[str, StepResult]) -> str:
    """All results as Markdown: what ended well, what did not, what was skipped."""
    parts = [_step_text(step, results[step.id], len(plan.steps)) for step in plan.steps if step.id in results]
    return "\n\n".join(part for part in parts if part) or "Nothing was done."


def _step_text(step: Step, result: StepResult, count: int) -> str:
    name = f"**{step.intent}**"
    if result.state is StepState.SKIPPED:
        return f"{name} was skipped."
    if result.state is StepState.UNKNOWN:
        return f"{name}: nobody can say whether it happened. {_error(result)} Look at the target before you go on."
    if result.state is StepState.FAILED:
        output = (result.error or {}).get("output")
        shown = f"\n\n{_fenced(str(output))}" if output else ""
        return f"{name} failed. {_error(result)}{shown}"
    body = _markdown(display_of(result.result))
    if step.mutates:
        return f"{name}: done.\n\n{body}" if body else f"{name}: done."
    return f"{name}\n\n{body}" if count > 1 else body or f"{name}: nothing to show."


def _error(result: StepResult) -> str:
    return str((result.error or {}).get("message", "No reason was given."))


def _markdown(display: Mapping[str, Any]) -> str:
    match display["kind"]:
        case "table":
            return _table(display["columns"], display["rows"])
        case "series":
            return f"{_fields(display['fields'])}\n\n{_course(display)}".strip()
        case "fields":
            return _fields(display["fields"])
        case _:
            facts = ", ".join(f"{_label(key)} {_cell(_value(key, value))}" for key, value in display.get("fields", ()))
            text = _fenced(display["text"]) if display["text"] else ""
            return f"{facts}\n\n{text}".strip()


def _fields(fields: Sequence[Sequence[Any]]) -> str:
    return _table(["", ""], [[_label(key), _value(key, value)] for key, value in fields]) if fields else ""


def _course(display: Mapping[str, Any]) -> str:
    """A series in a sentence, for those who do not see the chart."""
    values = [value for value in display["values"] if isinstance(value, int | float)]
    if not values:
        return "There are no points to show."
    span = f"From {display['labels'][0]} to {display['labels'][-1]}"
    unit = f" {display['unit']}" if display["unit"] else ""
    low, high, last = min(values), max(values), values[-1]
    return f"{_escaped(span)}: between {low:g} and {high:g}{_escaped(unit)}, at last {last:g}."


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return "The list is empty."
    head = "| " + " | ".join(_label(column) for column in columns) + " |"
    rule = "|" + "---|" * len(columns)
    body = [
        "| " + " | ".join(_cell(_value(column, value)) for column, value in zip(columns, row, strict=True)) + " |"
        for row in rows[:MAX_ROWS]
    ]
    more = [f"\n{len(rows) - MAX_ROWS} more rows are not shown here."] if len(rows) > MAX_ROWS else []
    return "\n".join([head, rule, *body, *more])


def _label(name: str) -> str:
    for suffix, shown in _LABELS.items():
        if name.endswith(suffix):
            return _escaped(name.removesuffix(suffix).replace("_", " ")) + shown
    return _escaped(name.replace("_", " "))


def _value(name: str, value: Any) -> Any:
    """A number with its unit, from the suffix of its name."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if name.endswith("_bytes"):
        return human_bytes(value)
    if name.endswith("_percent"):
        return f"{value:.1f} %"
    if name.endswith("_s"):
        return f"{value:,} s" if isinstance(value, int) else f"{value:,.3f}".rstrip("0").rstrip(".") + " s"
    return value


def human_bytes(count: float) -> str:
    """Bytes in the unit a person would use."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 1024 or unit == "TiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        value = f"{value:.4g}"
    text = " ".join(str(value).split())
    return _escaped(text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…")


def _escaped(text: str) -> str:
    """Text that stays itself inside a Markdown table."""
    return "".join("\\" + char if char in "\\|`*_[]<>#~" else char for char in text)


def _fenced(text: str) -> str:
    shown = text if len(text) <= MAX_TEXT else text[-MAX_TEXT:]
    fence = "```"
    while fence in shown:
        fence += "`"
    return f"{fence}\n{shown}\n{fence}"
