/**
 * One step on a plan's card: whole params, conditions and rules in words, what it touches, verdict, state, output.
 *
 * Used by plan-card.js and templates.js.
 */

import { html, useState } from "../vendor/preact.js";
import { plural, visible } from "./format.js";
import { Icon } from "./icons.js";
import { PolicyAllow } from "./policy-allow.js";
import { Preview } from "./plan-preview.js";
import { DECIDED, DECISIONS, EFFECTS, isOpen, isReversible } from "./plan-rules.js";
import { rulesInWords, sourcesOf, whenInWords } from "./plan-words.js";
import { intents, mayApprove, planCall } from "./store.js";
import { complain } from "./voice.js";
import { AsJson, Fields } from "./value.js";

/** @type {Record<string, [string, string]>} */
const STATES = {
  pending: ["ring", "Pending"],
  running: ["dot", "Running"],
  done: ["check", "Done"],
  failed: ["cross", "Failed"],
  skipped: ["dash", "Skipped"],
  unknown: ["question", "May or may not have happened"],
  undone: ["undo", "Taken back"],
};

/** @param {{plan: any, step: any, number: number, error?: {message: string, output?: string}}} props */
export function Step({ plan, step, number, error }) {
  const [icon, label] = STATES[step.state] ?? ["ring", step.state];
  return html`<li class="step state-${step.state}" data-step=${step.id} aria-label="Step ${number}: ${visible(step.intent)}">
    <div class="step-head">
      <span class="state"><${Icon} name=${icon} /><span class=${step.state === "pending" ? "offscreen" : ""}>${label}</span></span>
      <code class="intent">${visible(step.intent)}</code>
      <span class="chip effect ${step.effect}">${EFFECTS[step.effect]}</span>
    </div>
    <${StepBody} step=${step} />
    ${step.preview && step.effect !== "read" && html`<${Preview} preview=${step.preview} />`}
    <${Verdict} plan=${plan} step=${step} open=${isOpen(plan)} />
    ${step.progress?.length > 0 && html`<${Output} step=${step} />`}
    ${error && html`<p class="banner error"><${Icon} name="cross" /><span>${visible(error.message)}</span></p>`}
    ${error?.output && !step.progress?.length && html`<pre class="value" tabindex="0">${visible(error.output)}</pre>`}
    ${step.state === "unknown" && plan.run_id && html`<${Resolve} plan=${plan} step=${step} />`}
  </li>`;
}

/** What was asked for: order, condition, params, rules, and all of it as JSON. @param {{step: any}} props */
export function StepBody({ step }) {
  const { id, intent, params, needs, when, on_error, retries, timeout_s } = step;
  const fields = Object.entries(params ?? {});
  const after = sourcesOf(step);
  return html`<div class="rules small muted">
      <span>${visible(id)}${after.length ? ` after ${visible(after.join(" and "))}` : ""}</span>
      ${rulesInWords(step).map((rule) => html`<span>${rule}</span>`)}
      <${AsJson} title="As JSON" value=${{ id, intent, params, needs, when, on_error, retries, timeout_s }} />
    </div>
    ${when && html`<${Condition} when=${when} />`}
    ${fields.length ? html`<${Fields} fields=${fields} />` : html`<p class="muted small">no params</p>`}`;
}

/** In words where that can be done, and always as written. @param {{when: string}} props */
function Condition({ when }) {
  const words = whenInWords(when);
  return html`<p class="condition small">
    <b>Only if ${words ? visible(words) : "this is true"}.</b> <span class="muted">As written:</span> <code class="value">${visible(when)}</code>
  </p>`;
}

/** Rules about rules are made nowhere. @param {any} step */
const isOffered = (step) => intents.value.some((one) => one.name === step.intent);

/** @param {any} step */
function wayBack(step) {
  if (step.undo) return html`can be taken back with <code>${visible(step.undo.intent)}</code>`;
  return isReversible(step, intents.value) ? "can be taken back" : html`<b>cannot be taken back</b>`;
}

/** What policy says; what would allow it only while that is open. @param {{plan: any, step: any, open: boolean}} props */
function Verdict({ plan, step, open }) {
  const { verdict } = step;
  if (!verdict || (verdict.decision === "allow" && step.effect === "read")) return null;
  const asks = verdict.decision === "ask" && verdict.approvals > 1;
  return html`<div class="verdict ${verdict.decision}">
    <b>${(open ? DECISIONS : DECIDED)[verdict.decision]}</b>
    ${asks && html`<span>${plural(verdict.approvals, "approval")}${verdict.roles?.length ? ` of ${verdict.roles.join(" or ")}` : ""}</span>`}
    ${verdict.reason && html`<span>${visible(verdict.reason)}</span>`}
    ${verdict.would_allow && (open || verdict.decision === "deny") && html`<span>What would allow it: ${visible(verdict.would_allow)}</span>`}
    ${verdict.rules?.length > 0 && html`<span>rules <code>${visible(verdict.rules.join(", "))}</code></span>`}
    ${step.effect !== "read" && html`<span>${wayBack(step)}</span>`}
    ${verdict.decision === "ask" && mayApprove.value && isOffered(step) && html`<${PolicyAllow} plan=${plan} step=${step} />`}
  </div>`;
}

/** What a running script says, as it says it. @param {{step: any}} props */
function Output({ step }) {
  return html`<details class="output" open=${step.state === "running" || step.state === "failed" || undefined}>
    <summary>Output</summary>
    <pre tabindex="0" aria-label="Output of ${step.id}">${step.progress.map(
      (/** @type {any} */ piece) =>
        html`<span class=${piece.stream ?? ""}>${visible(String(piece.text ?? JSON.stringify(piece)))}</span>`,
    )}</pre>
  </details>`;
}

/** Nobody can tell whether it happened: a person looks and says so. @param {{plan: any, step: any}} props */
function Resolve({ plan, step }) {
  const [busy, setBusy] = useState(false);
  const tell = (/** @type {string} */ outcome) => async () => {
    setBusy(true);
    await planCall("run_resolve", { run_id: plan.run_id, step_id: step.id, outcome }).catch(complain);
    setBusy(false);
  };
  if (!mayApprove.value) return html`<p class="small muted">An approver has to say what became of this step.</p>`;
  return html`<div class="resolve" role="group" aria-label="What became of ${step.id}?">
    <p class="small">The server stopped while this step was at work, so it may or may not have happened. It is never repeated by
      itself. <b>Look at ${visible((step.preview?.targets ?? []).join(", ") || "its target")}, then say what you found:</b></p>
    <div class="actions">
      <button type="button" disabled=${busy} onClick=${tell("done")}>It happened, go on</button>
      <button type="button" disabled=${busy} onClick=${tell("retry")}>It did not, try again</button>
      <button type="button" disabled=${busy} onClick=${tell("stop")}>Stop the plan here</button>
    </div>
  </div>`;
}
