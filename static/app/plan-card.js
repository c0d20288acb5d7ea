/**
 * A plan as a card: every step with its whole params, effect, verdict, preview and state; and the decision on it.
 *
 * Cards come only from typed plan events and RPC answers, never from model text, and stand outside the Markdown.
 */

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { Aftermath } from "./aftermath.js";
import { Decision } from "./decision.js";
import { Expiry } from "./expiry.js";
import { ago, plural, provider, shortDigest, visible } from "./format.js";
import { Icon } from "./icons.js";
import { PlanDiff, stepChanges } from "./plan-diff.js";
import { Graph, isBranched } from "./plan-graph.js";
import { EFFECTS, STATUSES, asksApproval, blast, changing, isOpen } from "./plan-rules.js";
import { Step } from "./plan-step.js";
import { earlierPlan, planSignal } from "./plans.js";
import { readOn } from "./scroll.js";
import { rpc } from "./store.js";

const TROUBLE = ["failed", "waiting", "needs_human", "cancelled", "undone"];

/** @param {{id: string}} props */
export function PlanCard({ id }) {
  const plan = planSignal(id).value;
  const [notice, setNotice] = useState("");
  const next = useNext(plan);
  if (!plan) return html`<p class="muted">Loading the plan…</p>`;
  const onlyReads = changing(plan).length === 0;
  if (["running", "done"].includes(plan.status) && onlyReads)
    return html`<${ReadSummary} plan=${plan} place=${next.place} />`;
  return html`<section class="plan effect-${plan.effect} status-${plan.status}" aria-labelledby="plan-${id}" data-plan=${id}>
    <header>
      <div>
        <p class="eyebrow"><${Icon} name="shield" />${onlyReads ? "Plan" : EFFECTS[plan.effect]}</p>
        <h3 id="plan-${id}">${visible(plan.title || plan.request || "Plan")}</h3>
      </div>
      <span class="chip status">${STATUSES[plan.status] ?? plan.status}</span>
    </header>
    <${About} plan=${plan} />
    ${plan.origin?.tainted && html`<${Taint} plan=${plan} />`}
    ${plan.status === "waiting" && html`<${Waits} plan=${plan} />`}
    ${isBranched(plan.steps) && html`<${Graph} steps=${plan.steps} />`}
    <${Steps} plan=${plan} />
    ${isOpen(plan) && html`<div ref=${next.changes} tabindex="-1"><${Changed} plan=${plan} /></div>`}
    ${notice && html`<p class="banner error" role="alert"><${Icon} name="warning" /><span>${visible(notice)}</span></p>`}
    ${
      asksApproval(plan)
        ? html`<${Decision} key=${plan.digest} plan=${plan} notice=${setNotice} decided=${next.decided} />`
        : html`<${Aftermath} plan=${plan} place=${next.place} />`
    }
  </section>`;
}

/**
 * Where the reader goes once a decision is made: to what happens next, or to what an edit changed.
 * @param {any} plan
 */
function useNext(plan) {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const changes = useRef(/** @type {HTMLElement | null} */ (null));
  const [made, setMade] = useState("");
  useEffect(() => {
    const goal = made === "edited" ? changes.current : plan && !asksApproval(plan) ? place.current : null;
    if (!made || !goal) return;
    setMade("");
    goal.focus({ preventScroll: true });
    readOn(goal);
  }, [made, plan?.status]);
  return { place, changes, decided: setMade };
}

/** Reads that ran at once: one line each, the whole on demand. @param {{plan: any, place: any}} props */
function ReadSummary({ plan, place }) {
  const calls = plan.steps.map((/** @type {any} */ step) => step.intent).join(", ");
  return html`<details class="reads" data-plan=${plan.plan_id}>
    <summary ref=${place}>
      <${Icon} name=${plan.status === "done" ? "check" : "dot"} />
      ${STATUSES[plan.status] ?? plan.status}: <span class="mono">${visible(calls)}</span>
    </summary>
    ${isBranched(plan.steps) && html`<${Graph} steps=${plan.steps} />`}
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
    plan.undoes && `takes back run ${plan.undoes}`,
    provider(plan.answered_by),
    plan.confidence < 1 && plan.confidence > 0 && `${Math.round(plan.confidence * 100)} % sure`,
  ].filter(Boolean);
  return html`<p class="about">
    ${facts.map((fact) => html`<span>${visible(String(fact))}</span>`)}
    ${plan.digest && html`<span>digest <code title=${plan.digest}>${shortDigest(plan.digest)}</code></span>`}
    ${isOpen(plan) && approval?.expires_at && html`<${Expiry} at=${approval.expires_at} />`}
    ${plan.status === "approved" && approval?.execute_by && html`<${Expiry} at=${approval.execute_by} words="has to begin in" late="too late to begin" />`}
  </p>`;
}

/** @param {{plan: any}} props */
function Taint({ plan }) {
  return html`<p class="banner warning">
    <${Icon} name="warning" />
    <span><b>Made from untrusted text</b> (${visible(`${plan.origin.kind} ${plan.origin.id}`)}). Words of an alert, a log or a
      file took part in it: check that every value below is what you mean.</span>
  </p>`;
}

/** Why a plan that had begun waits for a person again. @param {{plan: any}} props */
function Waits({ plan }) {
  const unknown = plan.steps.filter((/** @type {any} */ step) => step.state === "unknown");
  const text = unknown.length
    ? html`<b>Nobody can tell whether ${visible(unknown.map((/** @type {any} */ step) => step.id).join(" and "))} happened.</b> The
        plan goes on when a person has looked and said so.`
    : html`<b>It has to be approved again.</b> What it would touch, or what policy asks, is no longer what was approved. Nothing of
        the rest has begun, and the approvals given before do not count any more.`;
  return html`<p class="banner warning"><${Icon} name="question" /><span>${text}</span></p>`;
}

/** What an edit changed, and what is different from the plan that was approved. @param {{plan: any}} props */
function Changed({ plan }) {
  const edit = plan.edited_from;
  const before = plan.status === "waiting" && earlierPlan(plan.plan_id);
  const since = plan.status === "waiting" && plan.drift ? plan.drift.diff : before && stepChanges(before.steps, plan.steps);
  return html`${edit && html`<${PlanDiff} title="Edited by ${visible(edit.by)}, ${ago(edit.at)}" changes=${edit.diff} steps=${plan.steps} />`}
    ${since && html`<${PlanDiff} title="Changed since it was approved" changes=${since} steps=${plan.steps} />`}`;
}

/** @param {{plan: any}} props */
function Steps({ plan }) {
  const errors = useStepErrors(plan);
  return html`<ol class="steps">
    ${plan.steps.map(
      (/** @type {any} */ step, /** @type {number} */ i) =>
        html`<${Step} key=${step.id} plan=${plan} step=${step} number=${i + 1} error=${errors[step.id]} />`,
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
