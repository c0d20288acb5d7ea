/** What the middle of the page shows beside the chat: plans, templates, standing rules, the audit trail. Used by main.js and chat.js. */

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { AuditView } from "./audit-view.js";
import { Icon } from "./icons.js";
import { PlansView } from "./plans-view.js";
import { RulesView } from "./rules-view.js";
import { connection, isAdmin, showView, view } from "./store.js";
import { Templates } from "./templates.js";

/** @type {{name: import("./store.js").View, title: string, icon: any, body: any, admin?: boolean}[]} */
const VIEWS = [
  { name: "plans", title: "Plans and runs", icon: "list", body: PlansView },
  { name: "templates", title: "Templates", icon: "save", body: Templates },
  { name: "rules", title: "Standing rules", icon: "check", body: RulesView },
  { name: "audit", title: "Audit trail", icon: "shield", body: AuditView, admin: true },
];

/** The title of what is shown; "" for the chat. */
export const viewTitle = () => VIEWS.find((one) => one.name === view.value)?.title ?? "";

/** @param {{picked: () => void}} props */
export function ViewLinks({ picked }) {
  return html`<ul class="views">
    ${VIEWS.filter((one) => !one.admin || isAdmin.value).map(
      (
        one,
      ) => html`<li><button type="button" class="quiet" aria-current=${view.value === one.name ? "page" : undefined} onClick=${() => (showView(one.name), picked())}>
        <${Icon} name=${one.icon} />${one.title}</button></li>`,
    )}
  </ul>`;
}

export function View() {
  const shown = VIEWS.find((one) => one.name === view.value);
  const region = useRef(/** @type {HTMLElement | null} */ (null));
  const [ready, setReady] = useState(false);
  const online = connection.value === "online";
  useEffect(() => region.current?.focus({ preventScroll: true }), [shown]);
  useEffect(() => setReady(ready || online), [online]);
  if (!shown) return null;
  return html`<div class="log view" ref=${region} key=${shown.name} tabindex="-1" role="region" aria-label=${shown.title}>
    <div class="column">${ready ? html`<${shown.body} />` : html`<p class="muted">Connecting…</p>`}</div>
  </div>`;
}
