"""Makes Cedar of a short policy, the only form in which anything is decided.

Used where a policy file is loaded. Each condition of a line becomes a rule of its own, so that a refusal names exactly
the one that stood in the way. What no line names falls to the default policy, whose permits are left out for the rest.
"""

from collections.abc import Iterator, Mapping, Sequence

from llmcore.policy.explain import DAYS
from llmcore.policy.rules import is_permit, statements
from llmcore.policy.schema import quoted
from llmcore.policy.short import Line, Selector, Site, Terms, read_short


def compile_short(text: str, source: str, site: Site, default: str) -> str:
    """The Cedar of a short policy; raises PolicyError with file, line, key and remedy."""
    lines = read_short(text, source, site)
    parts = [f"// Made from {' '.join(source.split())}. What it does not name falls to the default policy below."]
    for line in lines:
        parts += [f"// line {line.number}", *_rules(line, lines, site)]
    parts.append("// The default policy.")
    parts += _default(lines, default, site)
    return "\n".join(parts) + "\n"


def _default(lines: Sequence[Line], text: str, site: Site) -> Iterator[str]:
    """The default policy, whose permits say nothing of what a line names."""
    everywhere = frozenset().union(*(line.intents for line in lines if line.selector is None))
    exceptions = f"\nunless {{ {_among(everywhere)} }}" if everywhere else ""
    for line in lines:
        if line.selector and (rest := line.intents - everywhere):
            exceptions += f"\nunless {{ {_about(line, rest, site)} }}"
    for _, statement in statements(text):
        yield f"{statement.removesuffix(';').rstrip()}{exceptions};" if is_permit(statement) else statement


def _rules(line: Line, lines: Sequence[Line], site: Site) -> Iterator[str]:
    if not line.intents:
        return  # an effect that this host has not
    terms = line.terms
    scope = f"(principal, {_among(line.intents)}, resource)"
    scope += f"\nwhen {{ {_selects(line.selector, site)} }}" if line.selector else ""
    for other in lines:
        if other.replaces(line) and (common := line.intents & other.intents):
            scope += f"\nunless {{ {_about(other, common, site)} }}"
    if not terms.allow:
        yield _rule("forbid", scope, line.key, "The policy says no.", {})
        return
    why = terms.reason or ("" if terms.approvals else "The policy says yes.")
    yield _rule("permit", scope, line.key, why, {})
    for name, reason, notes, condition in _conditions(terms):
        yield _rule("forbid", f"{scope}\n{condition}", f"{line.key}/{name}", terms.reason or reason, notes)


def _conditions(terms: Terms) -> Iterator[tuple[str, str, Mapping[str, str], str]]:
    """Name, reason, annotations and Cedar of everything that has to hold besides."""
    if terms.approvals:
        people = "a person's approval" if terms.approvals == 1 else f"the approval of {terms.approvals} people"
        notes = {"approvers": str(terms.approvals)}
        notes |= {"role": ",".join(terms.roles)} if terms.roles else {}
        notes |= {"excludes": "requester"} if terms.excludes_requester else {}
        yield "ask", f"It needs {people}.", notes, f"when {{ context.approvals < {terms.approvals} }}"
    if terms.hours:
        first, last = terms.hours
        within = "&&" if first < last else "||"
        inside = f"context.hour >= {first} {within} context.hour < {last}"
        yield "hours", f"Only from {first:02}:00 to {last:02}:00.", {}, f"unless {{ {inside} }}"
    if terms.days:
        days = ", ".join(DAYS[day - 1] for day in sorted(terms.days))
        numbers = ", ".join(str(day) for day in sorted(terms.days))
        yield "days", f"Only on {days}.", {}, f"unless {{ [{numbers}].contains(context.weekday) }}"
    if terms.max_blast is not None:
        targets = f"At most {terms.max_blast} targets at once."
        yield "max_blast", targets, {}, f"when {{ context.blast > {terms.max_blast} }}"
    if terms.min_confidence is not None:
        sure = f"Only with a confidence of at least {terms.min_confidence} per cent."
        yield "min_confidence", sure, {}, f"when {{ context.confidence < {terms.min_confidence} }}"
    if terms.own:
        yield "own", "Only on what is one's own.", {}, "unless { resource.owner == principal.name }"


def _rule(effect: str, scope: str, name: str, reason: str, notes: Mapping[str, str]) -> str:
    told = {"id": name, **({"reason": reason} if reason else {}), **notes}
    annotations = "".join(f"@{key}({quoted(value)})\n" for key, value in told.items())
    return f"{annotations}{effect} {scope};"


def _about(line: Line, intents: frozenset[str], site: Site) -> str:
    """True of the requests that a line is about."""
    return f"{_among(intents)} && {_selects(line.selector, site)}" if line.selector else _among(intents)


def _among(intents: frozenset[str]) -> str:
    names = ", ".join(f"Action::{quoted(name)}" for name in sorted(intents))
    return f"action in [{names}]"


def _selects(selector: Selector, site: Site) -> str:
    """True of the targets that a selector means."""
    name = selector.attribute
    value, kind = f"resource[{quoted(name)}]", site.kind_of(name)
    if kind == "String":
        told = (
            f"{value} like {quoted(selector.value)}"
            if "*" in selector.value
            else f"{value} == {quoted(selector.value)}"
        )
    else:
        told = f"{value} == {selector.value}"
    return f"resource has {quoted(name)} && {told}" if name in site.attributes else told
