"""Which template a text means by the words of its examples.

Used by the room; by commands that work without a server too. Pure; knows no store and no people.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress

from llmcore.catalog import Catalog
from llmcore.errors import BadParams
from llmcore.plan import Shape, tokens
from llmcore.templates.checks import filled, shapes
from llmcore.templates.values import Filled, Template


class Texts:
    """The examples of some templates, found by how many words they have. Immutable."""

    def __init__(self, templates: Iterable[Template], catalog: Catalog) -> None:
        """Take the examples apart."""
        self._catalog = catalog
        self._known: dict[int, list[tuple[Template, Shape]]] = {}
        for template in templates:
            with suppress(BadParams):  # saved by a version that read texts in another way: it still runs by its name
                for shape in shapes(template):
                    self._known.setdefault(len(shape.pieces), []).append((template, shape))

    def meant(self, text: str, trusted: Callable[[Template], bool]) -> Filled | None:
        """The template that these very words mean, filled; the one with the most words where several fit.

        Only those that are `trusted`. Values that do not fit mean nothing.
        """
        found: list[tuple[int, Filled]] = []
        said = tokens(text)
        for template, shape in self._known.get(len(said), ()):
            values = shape.fits(said)
            if values is None or not trusted(template):
                continue
            with suppress(BadParams):
                found.append((len(values), filled(template, values, self._catalog)))
        return min(found, key=lambda one: one[0])[1] if found else None

    def taken(self, shape: Shape, name: str) -> str | None:
        """Another template than `name` that the same words mean already."""
        for template, known in self._known.get(len(shape.pieces), ()):
            if template.name != name and shape.says_same(known):
                return template.name
        return None
