/**
 * A plan as a card: every step with its whole params, effect, verdict, preview and state; and the decision on it.
 *
 * Cards come only from typed plan events and RPC answers, never from model text, and stand outside the Markdown.
 */

import { html, useEffect, useState } from "../vendor/preact.js";
import { Decision } from "./decision.js";
import { left, plural, provider, shortDigest, visible } from "./format.js";
import { Icon } from "./icons.js";
import { planSignal } from "./plans.js";
import { DECIDED, DECISIONS, EFFECTS, STATUSES, blast, changing, isOpen, isReversible } from "./plan-rules.js";
import { complain, intents, planCall, rpc } from "./store.js";
import { Preview } from "./plan-preview.js";
import { Fields } from "./value.js";

const STATES = {
  pending: ["ring", "Pending"],
  running: ["dot", "Running"],
  done: ["check", "Done"],
  failed: ["cross", "Failed"],
  skipped: ["dash", "Skipped"],
  unknown: ["question", "May or may not have happened"],
  undone: ["undo", "Taken back"],
};
const TROUBLE = ["failed", "waiting", "needs_human", "cancelled"];

/** @param {{id: string}} props */
export function PlanCard({ id }) {
  const plan = planSignal(id).value;
  if (!plan) return html`<p class="muted">Loading the plan…</p>`;
  if (["running", "done"].includes(plan.status) && changing(plan).length === 0)
    return html`<${ReadSummary} plan=${plan} />`;
  return html`<section class="plan effect-${plan.effect} status-${plan.status}" aria-labelledby="plan-${id}" data-plan=${id}>
    <header>
      <div>
        <p class="eyebrow"><${Icon} name="shield" />${changing(plan).length ? EFFECTS[plan.effect] : "Plan"}</p>
        <h3 id="plan-${id}">${visible(plan.title || plan.request || "Plan")}</h3>
      </div>
      <span class="chip status">${STATUSES[plan.status] ?? plan.status}</span>
    </header>
    <${About} plan=${plan} />
    ${plan.origin?.tainted && html`<${Taint} plan=${plan} />`}
    <${Steps} plan=${plan} />
    ${isOpen(plan) ? html`<${Decision} key=${plan.digest} plan=${plan} />` : html`<${Aftermath} plan=${plan} />`}
  </section>`;
}

/** Reads that ran at once: one line each, the whole on demand. @param {{plan: any}} props */
function ReadSummary({ plan }) {
  const calls = plan.steps.map((/** @type {any} */ step) => step.intent).join(", ");
  return html`<details class="reads" data-plan=${plan.plan_id}>
    <summary>
      <${Icon} name=${plan.status === "done" ? "check" : "dot"} />
      ${STATUSES[plan.status] ?? plan.status}: <span class="mono">${calls}</span>
    </summary>
    <${Steps} plan=${plan} />
  </details>`;
}

/** @param {{plan: any}} props */
function About({ plan }) {
  const { approval, origin } = plan;
  const facts = [
    changing(plan).length > 0 && `touches ${plural(blast(plan), "target")}`,
    plan.requester && `asked by ${plan.requester.name}`,
    origin && origin.kind !== "chat" && `from ${origin.kind} ${origin.id}`,
    provider(plan.answered_by),
    plan.confidence < 1 && plan.confidence > 0 && `${Math.round(plan.confidence * 100)} % sure`,
    approval?.needed > 0 && `${approval.given.length} of ${plural(approval.needed, "approval")}`,
  ].filter(Boolean);
  return html`<p class="about">
    ${facts.map((fact) => html`<span>${visible(String(fact))}</span>`)}
    ${plan.digest && html`<span>digest <code title=${plan.digest}>${shortDigest(plan.digest)}</code></span>`}
    ${isOpen(plan) && approval?.expires_at && html`<${Expiry} at=${approval.expires_at} />`}
  </p>`;
}

/** @param {{at: string}} props */
function Expiry({ at }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, [at]);
  const rest = Date.parse(at) - now;
  return html`<span title=${at}>${rest > 0 ? `expires in ${left(rest)}` : "expired"}</span>`;
}

/** @param {{plan: any}} props */
function Taint({ plan }) {
  return html`<p class="banner warning">
    <${Icon} name="warning" />
    <span><b>Made from untrusted text</b> (${visible(`${plan.origin.kind} ${plan.origin.id}`)}). Words of an alert, a log or a
      file took part in it: check that every value below is what you mean.</span>
  </p>`;
}

/** @param {{plan: any}} props */
function Steps({ plan }) {
  const errors = useStepErrors(plan);
  return html`<ol class="steps">
    ${plan.steps.map(
      (/** @type {any} */ step) => html`<${Step} key=${step.id} plan=${plan} step=${step} error=${errors[step.id]} />`,
    )}
  </ol>`;
}

/** Plans do not carry what went wrong; runs do. @param {any} plan @returns {Record<string, {message: string, output?: string}>} */
function useStepErrors(plan) {
  const [errors, setErrors] = useState({});
  useEffect(() => {
    if (!plan.run_id || !TROUBLE.includes(plan.status)) return;
    rpc("run_get", { run_id: plan.run_id }).then(
      ({ run }) => {
        const found = run.steps.filter((/** @type {any} */ step) => step.error);
        setErrors(Object.fromEntries(found.map((/** @type {any} */ step) => [step.id, step.error])));
      },
      () => {},
    );
  }, [plan.run_id, plan.status]);
  return errors;
}

/** @param {{plan: any, step: any, error?: {message: string, output?: string}}} props */
function Step({ plan, step, error }) {
  const [icon, label] = STATES[/** @type {keyof typeof STATES} */ (step.state)] ?? ["ring", step.state];
  const fields = Object.entries(step.params);
  return html`<li class="step state-${step.state}" data-step=${step.id}>
    <div class="step-head">
      <span class="state"><${Icon} name=${icon} /><span class=${step.state === "pending" ? "offscreen" : ""}>${label}</span></span>
      <code class="intent">${visible(step.intent)}</code>
      <span class="chip effect ${step.effect}">${EFFECTS[step.effect]}</span>
      <span class="muted small">${step.id}${step.needs?.length ? ` after ${step.needs.join(", ")}` : ""}</span>
    </div>
    ${fields.length ? html`<${Fields} fields=${fields} />` : html`<p class="muted small">no params</p>`}
    ${step.when && html`<p class="small">only if <code class="value">${visible(step.when)}</code></p>`}
    ${step.preview && step.effect !== "read" && html`<${Preview} preview=${step.preview} />`}
    <${Verdict} step=${step} open=${isOpen(plan)} />
    ${step.progress?.length > 0 && html`<${Output} step=${step} />`}
    ${error && html`<p class="banner error"><${Icon} name="cross" /><span>${visible(error.message)}</span></p>`}
    ${error?.output && !step.progress?.length && html`<pre class="value" tabindex="0">${visible(error.output)}</pre>`}
    ${step.state === "unknown" && plan.run_id && html`<${Resolve} plan=${plan} step=${step} />`}
  </li>`;
}

/** @param {any} step */
function wayBack(step) {
  if (step.undo) return html`can be taken back with <code>${visible(step.undo.intent)}</code>`;
  return isReversible(step, intents.value) ? "can be taken back" : "cannot be taken back automatically";
}

/** What policy says; what would allow it only while that is open. @param {{step: any, open: boolean}} props */
function Verdict({ step, open }) {
  const { verdict } = step;
  if (!verdict || (verdict.decision === "allow" && step.effect === "read")) return null;
  return html`<p class="verdict ${verdict.decision}">
    <b>${(open ? DECISIONS : DECIDED)[verdict.decision]}</b>${verdict.reason && html`<span>${visible(verdict.reason)}</span>`}
    ${verdict.would_allow && (open || verdict.decision === "deny") && html`<span>What would allow it: ${visible(verdict.would_allow)}</span>`}
    ${verdict.rules?.length > 0 && html`<span>rules <code>${visible(verdict.rules.join(", "))}</code></span>`}
    ${step.effect !== "read" && html`<span>${wayBack(step)}</span>`}
  </p>`;
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

/** @param {{plan: any, step: any}} props */
function Resolve({ plan, step }) {
  const tell = (/** @type {string} */ outcome) => () =>
    planCall("run_resolve", { run_id: plan.run_id, step_id: step.id, outcome }).catch(complain);
  return html`<div class="actions">
    <span class="small">Look at the target, then say what happened:</span>
    <button type="button" onClick=${tell("done")}>It happened</button>
    <button type="button" onClick=${tell("retry")}>It did not, try again</button>
    <button type="button" onClick=${tell("stop")}>Stop the plan</button>
  </div>`;
}

/** A plan that is decided: who approved it, and stop while it runs. @param {{plan: any}} props */
function Aftermath({ plan }) {
  const stop = () => rpc("run_cancel", { run_id: plan.run_id }).catch(complain);
  const votes = (plan.approval?.given ?? []).map(
    (/** @type {any} */ vote) => `Approved by ${vote.by}${vote.comment ? `: ${vote.comment}` : ""}`,
  );
  const running = plan.status === "running" && plan.run_id;
  if (!votes.length && !running) return null;
  return html`<footer class="actions">
    <span class="small muted grow">${visible(votes.join(" · "))}</span>
    ${running && html`<button type="button" onClick=${stop}><${Icon} name="stop" />Stop</button>`}
  </footer>`;
}
