/** The right side: what waits for a decision, alerts and suggestions, the host, the model. Used by main.js. */

import { html } from "../vendor/preact.js";
import { ago, visible } from "./format.js";
import { Icon } from "./icons.js";
import { EFFECTS } from "./plan-rules.js";
import { modelIsOn } from "./status.js";
import { Stats } from "./stats.js";
import {
  answerCard,
  cards,
  cardTitle,
  complain,
  mayApprove,
  serverStatus,
  showPlanAlone,
  waitingPlans,
} from "./store.js";

/** @param {{picked: () => void}} props */
export function Rail({ picked }) {
  return html`<${Waiting} picked=${picked} /><${Cards} />
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

function Cards() {
  if (!cards.value.length) return null;
  return html`<section>
    <h2>Alerts and suggestions</h2>
    ${cards.value.map((card) => html`<${Card} key=${card.id} card=${card} />`)}
  </section>`;
}

/** @param {{card: import("./store.js").Card}} props */
function Card({ card }) {
  const { content, kind } = card;
  const alert = kind === "llmcore.alert";
  const severity = content.severity ?? content.labels?.severity ?? "";
  const text =
    content.text ??
    content.reason ??
    content.description ??
    content.annotations?.summary ??
    content.annotations?.description ??
    "";
  return html`<article class="card ${alert ? "alert" : "suggestion"} ${severity === "critical" ? "critical" : ""}" data-card=${card.id}>
    <p class="eyebrow"><${Icon} name=${alert ? "bell" : "bulb"} />${alert ? `Alert${severity ? `, ${visible(severity)}` : ""}` : "Suggestion"}</p>
    <h3>${visible(String(cardTitle(content)))}</h3>
    ${text && html`<p class="small">${visible(String(text))}</p>`}
    ${
      !alert &&
      html`<div class="actions">
      <button type="button" class="small" onClick=${() => answerCard(card, true).catch(complain)}>Make it a plan</button>
      <button type="button" class="quiet small" onClick=${() => answerCard(card, false).catch(complain)}>Dismiss</button>
    </div>`
    }
  </article>`;
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
