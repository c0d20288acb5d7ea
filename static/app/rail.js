/** The right side: what waits for a decision, alerts and suggestions, the host, the model. Used by main.js. */

import { html } from "../vendor/preact.js";
import { Card } from "./cards.js";
import { ago, visible } from "./format.js";
import { EFFECTS } from "./plan-rules.js";
import { modelIsOn } from "./status.js";
import { Stats } from "./stats.js";
import { cards, mayApprove, serverStatus, showPlanAlone, waitingPlans } from "./store.js";

/** @param {{picked: () => void}} props */
export function Rail({ picked }) {
  return html`<${Waiting} picked=${picked} /><${News} />
    <section><h2>This host</h2><${Stats} /></section>
    <${Model} />`;
}

/** @param {{picked: () => void}} props */
function Waiting({ picked }) {
  const plans = waitingPlans.value;
  return html`<section>
    <h2>Waiting for a decision ${plans.length > 0 && html`<span class="count">${plans.length}</span>`}</h2>
    ${!plans.length && html`<p class="small muted">${mayApprove.value ? "Nothing waits." : "Nothing of yours waits."}</p>`}
    <ul class="waiting">
      ${plans.map(
        (plan) => html`<li key=${plan.plan_id}><button type="button" onClick=${() => (showPlanAlone(plan), picked())}>
          <span class="title">${visible(plan.title || plan.request)}</span>
          <span class="small"><span class="chip effect ${plan.effect}">${EFFECTS[plan.effect]}</span>
            <span class="muted">${visible(plan.requester?.name ?? plan.origin?.kind ?? "")} ${ago(plan.created_at)}</span></span>
        </button></li>`,
      )}
    </ul>
  </section>`;
}

function News() {
  if (!cards.value.length) return null;
  return html`<section>
    <h2>Alerts and suggestions</h2>
    ${cards.value.map((card) => html`<${Card} key=${card.id} card=${card} />`)}
  </section>`;
}

function Model() {
  const status = serverStatus.value;
  if (!status) return null;
  const state = status.ready?.components?.providers;
  return html`<section>
    <h2>Language model</h2>
    ${
      modelIsOn(status)
        ? html`<p class="small"><b>${visible(status.provider)}</b>${" "}<span class="muted">${visible(status.model ?? "")}</span></p>
          ${state && state.status !== "ok" && html`<p class="small muted">${visible(state.reason ?? state.status)}</p>`}`
        : html`<p class="small">Switched off: nothing leaves this machine. Answers come from the local matcher.</p>
          <details class="small"><summary>How to switch one on</summary>
            <p>On the server set <code>LLMCORE_LLM__PROVIDER</code> to <code>openai</code>, <code>anthropic</code> or <code>local</code>
              (Ollama, llama.cpp, vLLM; with <code>LLMCORE_LLM__BASE_URL</code>), and start llmcore again. Keys:
              <code>OPENAI_API_KEY</code>, <code>ANTHROPIC_API_KEY</code>. <code>llmcore doctor</code> checks it.</p>
          </details>`
    }
  </section>`;
}
