/** The middle of the page: the log of the shown conversation, an empty state that helps, the composer. */

import { html, useEffect, useLayoutEffect, useRef } from "../vendor/preact.js";
import { Card } from "./cards.js";
import { Composer } from "./composer.js";
import { Mark } from "./icons.js";
import { Message } from "./message.js";
import { PlanCard } from "./plan-card.js";
import { modelIsOn } from "./status.js";
import { goToEnd, stickToEnd, watchScroll } from "./scroll.js";
import { current, intents, newConversation, openPlan, send, serverStatus, view } from "./store.js";
import { View } from "./views.js";

/** Requests that work on any machine; each needs its intent. */
const EXAMPLES = [
  ["list_processes", "which processes eat the memory?", "Look"],
  ["get_disk_stats", "how full are the disks?", "Look"],
  ["get_cpu_stats", "how busy is the processor?", "Look"],
  ["list_targets", "which services do you know?", "Look"],
  ["list_scripts", "which scripts can I run?", "Look"],
  ["get_accessible_paths", "which folders may you touch?", "Look"],
];

function Empty() {
  const known = new Set(intents.value.map((one) => one.name));
  const fitting = EXAMPLES.filter(([intent]) => !known.size || known.has(intent)).slice(0, 4);
  const offline = serverStatus.value && !modelIsOn(serverStatus.value);
  return html`<div class="empty">
    <${Mark} />
    <h3>What should be looked at or done?</h3>
    <p class="muted">
      Reads run at once. Whatever changes something becomes a plan first, and nothing of it runs before it is approved.
    </p>
    <ul class="examples">
      ${fitting.map(([, text]) => html`<li><button type="button" onClick=${() => send(text)}>${text}</button></li>`)}
    </ul>
    ${
      offline &&
      html`<p class="small muted">No language model is switched on. What the local matcher is sure of works in milliseconds; for free
      conversation set <code>LLMCORE_LLM__PROVIDER</code> on the server.</p>`
    }
  </div>`;
}

function Log() {
  const log = useRef(/** @type {HTMLElement | null} */ (null));
  const shown = current.value;
  useEffect(() => watchScroll(log.current), []);
  useEffect(goToEnd, [shown]);
  useLayoutEffect(stickToEnd);
  const turns = shown.turns.value;
  const busy = turns.some((turn) => turn.busy);
  return html`<div class="log" ref=${log} role="log" aria-live="off" aria-label="Conversation" aria-busy=${busy} tabindex="0">
    <div class="column">
      ${
        shown.failure.value &&
        html`<div class="banner error"><span>${shown.failure.value}</span>
        <button type="button" onClick=${() => shown.open()}>Try again</button></div>`
      }
      ${shown.loading.value && !turns.length && html`<p class="muted">Loading…</p>`}
      ${!turns.length && !shown.loading.value && !shown.id.value && html`<${Empty} />`}
      ${shown.cards.value.map((card) => html`<${Card} key=${card.id} card=${card} />`)}
      ${turns.map((turn) => html`<${Message} key=${turn.key} turn=${turn} />`)}
    </div>
  </div>`;
}

/** @param {{id: string}} props */
function PlanAlone({ id }) {
  return html`<div class="log" tabindex="0" role="region" aria-label="Plan">
    <div class="column">
      <p><button type="button" class="quiet" onClick=${newConversation}>Back to the chat</button></p>
      <${PlanCard} id=${id} />
    </div>
  </div>`;
}

export function Chat() {
  if (view.value !== "chat") return html`<${View} />`;
  if (openPlan.value) return html`<${PlanAlone} id=${openPlan.value} />`;
  return html`<${Log} /><div class="dock"><div class="column"><${Composer} /></div></div>`;
}
