"""The room: who may save, see, run and delete which template, and which one the words of a chat mean.

Held by api and session through `Core` and a function. Keeps the templates of the store for a moment, so that a chat
costs no read; another node's are seen within a second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmcore.audit import Audit
from llmcore.catalog import Catalog
from llmcore.errors import BadParams, Conflict, Forbidden, NotFound
from llmcore.plan import Effect, Plan, Principal
from llmcore.ports import Clock, Store, rfc3339
from llmcore.templates.checks import filled, made_template, raw_steps, shapes, with_owner
from llmcore.templates.texts import Texts
from llmcore.templates.values import Filled, Template, template_from_json

FRESH_S = 1.0
"""How long the templates of the store are taken for granted."""
MAX_TEMPLATES = 500
_SAVERS = ("admin", "developer")


class Templates:
    """All templates of this installation."""

    def __init__(
        self, store: Store, catalog: Catalog, audit: Audit, clock: Clock, bundled: Sequence[Template] = ()
    ) -> None:
        """`bundled` ones come from files: they cannot be replaced or deleted."""
        self._store = store
        self._catalog = catalog
        self._audit = audit
        self._clock = clock
        self._bundled = {template.name: template for template in bundled}
        self._saved: dict[str, Template] = {}
        self._texts = self._index()
        self._looked = float("-inf")

    # --- what people do ---

    async def save(
        self, asked: Mapping[str, Any], principal: Principal, plan: Plan | None = None, steps: Sequence[Any] = ()
    ) -> Template:
        """Save a plan, or steps, as a template; one of the same name is replaced by its owner or an admin.

        `asked` has `name`, and perhaps `title`, `description`, `params`, `examples`. Raises BadParams with every wrong
        field, Forbidden, Conflict.
        """
        earlier = await self._own(asked["name"], principal)
        made = made_template(asked, steps if plan is None else raw_steps(plan.steps), self._catalog)
        self._check_new(made)
        owner = (principal.name, principal.role)
        template = with_owner(made, earlier, owner, rfc3339(self._clock.now()))
        template = replace(template, tainted=plan.origin.tainted if plan else False)
        self._check_examples(template)
        await self._audit.record("template.save", principal, template=template.json())
        if not await self._store.template_put(template.json(), earlier.json() if earlier else None):
            raise Conflict(f"Somebody else has saved {template.name} at this moment.", name=template.name)
        await self._look()
        return template

    async def list(self, principal: Principal) -> list[Template]:
        """What this caller may see: saved ones, newest first, then bundled ones."""
        await self.refresh()
        visible = self._visible_names(principal)
        found = [*self._saved.values(), *self._bundled.values()]
        return [template for template in found if self._sees(template, principal, visible)]

    async def get(self, name: str, principal: Principal) -> Template:
        """One that this caller may see; raises NotFound for all others."""
        await self.refresh()
        found = self._bundled.get(name) or self._saved.get(name)
        if found is None or not self._sees(found, principal, self._visible_names(principal)):
            raise NotFound(f"There is no template {name!r}.", name=name)
        return found

    async def filled(self, name: str, params: Mapping[str, Any], principal: Principal) -> Filled:
        """The steps of a template with these values, checked; raises NotFound, BadParams."""
        return filled(await self.get(name, principal), params, self._catalog)

    async def delete(self, name: str, principal: Principal) -> Template:
        """Forget a saved one; raises NotFound, Forbidden, Conflict for a bundled one."""
        template = await self._own(name, principal)
        if template is None:
            raise NotFound(f"There is no template {name!r}.", name=name)
        await self._audit.record("template.delete", principal, template=name)
        await self._store.template_delete(name)
        await self._look()
        return template

    # --- what it knows ---

    def effect(self, template: Template) -> Effect | None:
        """The most dangerous effect of its steps; None if this host lacks one of its intents."""
        if any(name not in self._catalog for name in template.intents):
            return None
        return max((self._catalog.get(name).effect for name in template.intents), key=lambda effect: effect.rank)

    def meant(self, text: str, principal: Principal) -> Filled | None:
        """The template that these very words of a person mean, filled, if they mean one.

        Looks only at bundled ones, the caller's own and those of admins: nobody else's words decide what theirs do.
        """
        visible = self._visible_names(principal)

        def trusted(template: Template) -> bool:
            known = template.owner in (None, principal.name) or template.owner_role == "admin"
            return known and self._sees(template, principal, visible)

        meant = self._texts.meant(text, trusted)
        if meant is not None:
            self._audit.note("template.meant", principal, template=meant.name)
        return meant

    async def refresh(self) -> None:
        """Read the store again if what is known is older than `FRESH_S`; raises Unavailable."""
        if self._clock.monotonic() - self._looked > FRESH_S:
            await self._look()

    async def _look(self) -> None:
        saved = [template_from_json(data) for data in await self._store.template_list(MAX_TEMPLATES)]
        self._looked = self._clock.monotonic()
        if saved != list(self._saved.values()):
            self._saved = {template.name: template for template in saved if template.name not in self._bundled}
            self._texts = self._index()

    def _index(self) -> Texts:
        return Texts((*self._bundled.values(), *self._saved.values()), self._catalog)

    # --- who may ---

    async def _own(self, name: str, principal: Principal) -> Template | None:
        """The saved template of that name, if there is one, for who may replace or delete it."""
        if principal.kind != "user" or principal.role not in _SAVERS:
            raise Forbidden("Only a developer or an admin may save or delete templates.")
        if name in self._bundled:
            raise Conflict(f"{name} comes with this installation; choose another name.", name=name)
        await self._look()
        found = self._saved.get(name)
        if found is not None and found.owner != principal.name and principal.role != "admin":
            raise Forbidden(f"{name} was saved by somebody else; only they or an admin may change it.", name=name)
        return found

    def _check_new(self, template: Template) -> None:
        if template.name not in self._saved and len(self._saved) >= MAX_TEMPLATES:
            raise Conflict(f"There are {MAX_TEMPLATES} templates already; delete one first.")

    def _check_examples(self, template: Template) -> None:
        """No text may mean two templates."""
        for number, shape in enumerate(shapes(template)):
            other = self._texts.taken(shape, template.name)
            if other is not None:
                fields = [{"pointer": f"/examples/{number}", "message": f"means {other} already"}]
                raise BadParams(f"The example {shape.text!r} means {other} already.", fields)

    def _visible_names(self, principal: Principal) -> frozenset[str]:
        return frozenset(intent.name for intent in self._catalog.visible_to(principal))

    def _sees(self, template: Template, principal: Principal, visible: frozenset[str]) -> bool:
        """Who may use all its intents; and who could delete one that this host lacks an intent of."""
        return visible.issuperset(template.intents) or (principal.role in _SAVERS and template.owner is not None)
