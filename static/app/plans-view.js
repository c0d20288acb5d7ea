/**
 * All plans and runs that this person may see, with filters; one opens in its conversation or alone. Used by views.js.
 */

import { html, useEffect, useState } from "../vendor/preact.js";
import { ago, plural, visible } from "./format.js";
import { EFFECTS, STATUSES } from "./plan-rules.js";
import { planChanges } from "./plans.js";
import { rpc, showPlanAlone } from "./store.js";

const PAGE = 50;
const MOST = 500;

export function PlansView() {
  const [status, setStatus] = useState("");
  const [text, setText] = useState("");
  const [limit, setLimit] = useState(PAGE);
  const [plans, setPlans] = useState(/** @type {any[] | null} */ (null));
  const [failure, setFailure] = useState("");
  const change = planChanges.value;
  useEffect(() => {
    let current = true;
    rpc("plan_list", { limit, ...(status ? { status } : {}) }).then(
      (data) => current && (setPlans(data.plans), setFailure("")),
      (error) => current && setFailure(error.message),
    );
    return () => {
      current = false;
    };
  }, [status, limit, change]);
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = (plans ?? []).filter((plan) => words.every((word) => haystack(plan).includes(word)));
  return html`<form class="filters" role="search" aria-label="Filter plans" onSubmit=${(/** @type {Event} */ e) => e.preventDefault()}>
      <label>Find <input type="search" value=${text} placeholder="words, intent, person, id"
        onInput=${(/** @type {any} */ e) => setText(e.currentTarget.value)} /></label>
      <label>Status <select value=${status} onChange=${(/** @type {any} */ e) => setStatus(e.currentTarget.value)}>
        <option value="">all</option>
        ${Object.entries(STATUSES).map(([value, label]) => html`<option value=${value}>${label}</option>`)}
      </select></label>
    </form>
    ${failure && html`<p class="banner error" role="alert"><span>${visible(failure)}</span></p>`}
    <p class="small muted" role="status">${plans ? `${plural(found.length, "plan")} shown, newest first` : "Loading…"}</p>
    <ul class="entries">${found.map((plan) => html`<li key=${plan.plan_id}><${Row} plan=${plan} /></li>`)}</ul>
    ${plans && plans.length >= limit && limit < MOST && html`<button type="button" onClick=${() => setLimit(Math.min(limit + PAGE, MOST))}>Show more</button>`}`;
}

/** @param {any} plan */
const haystack = ({ title, request, plan_id, run_id, requester, steps }) =>
  [
    title,
    request,
    plan_id,
    run_id,
    requester?.name,
    ...steps.flatMap((/** @type {any} */ step) => [step.intent, JSON.stringify(step.params)]),
  ]
    .join(" ")
    .toLowerCase();

/** @param {{plan: any}} props */
function Row({ plan }) {
  const votes = (plan.approval?.given ?? []).map((/** @type {any} */ vote) => vote.by);
  return html`<button type="button" class="entry-card plan-row status-${plan.status}" data-plan-row=${plan.plan_id} onClick=${() => showPlanAlone(plan)}>
    <span class="row-head"><span class="title grow">${visible(plan.title || plan.request || plan.plan_id)}</span>
      <span class="chip status">${STATUSES[plan.status] ?? plan.status}</span></span>
    <span class="small muted"><span class="chip effect ${plan.effect}">${EFFECTS[plan.effect]}</span>
      ${" "}${plural(plan.steps.length, "step")}, asked by ${visible(plan.requester?.name ?? "")} ${ago(plan.created_at)}${votes.length ? `, approved by ${visible(votes.join(", "))}` : ""}</span>
  </button>`;
}
