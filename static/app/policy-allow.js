/**
 * “Allow this from now on”: proposes a scoped rule that ends by itself; an admin has to approve it as a plan.
 *
 * Used by plan-step.js on steps that policy asks about.
 */

import { html, useRef, useState } from "../vendor/preact.js";
import { Dialog } from "./dialog.js";
import { plural, visible } from "./format.js";
import { Icon } from "./icons.js";
import { planCall, showPlanAlone } from "./store.js";
import { say } from "./voice.js";

const ROLES = ["admin", "developer"];
const DAYS = [1, 7, 30, 90, 365];

/** @param {{plan: any, step: any}} props */
export function PolicyAllow({ plan, step }) {
  const [asking, setAsking] = useState(false);
  return html`<button type="button" class="quiet small" aria-haspopup="dialog" onClick=${() => setAsking(true)}><${Icon} name="shield" />Allow this from now on…</button>
    ${asking && html`<${Question} plan=${plan} step=${step} close=${() => setAsking(false)} />`}`;
}

/** @param {{plan: any, step: any, close: () => void}} props */
function Question({ plan, step, close }) {
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const data = new FormData(/** @type {HTMLFormElement} */ (form.current));
    setBusy(true);
    try {
      const params = {
        plan_id: plan.plan_id,
        step_id: step.id,
        days: Number(data.get("days")),
        role: data.get("role"),
      };
      const answer = await planCall("policy_allow", params);
      say("The rule is proposed. An admin has to approve it.");
      close();
      showPlanAlone(answer.plan);
    } catch (error) {
      setProblem(/** @type {Error} */ (error).message);
      setBusy(false);
    }
  };
  const targets = (step.preview?.targets ?? []).join(", ");
  return html`<${Dialog} title="Allow this from now on?" close=${close}>
    <form ref=${form} class="stop-form" onSubmit=${submit}>
      <p>Proposes a rule: <code>${visible(step.intent)}</code>${targets && html` on <b>${visible(targets)}</b>`} runs without asking. The rule waits as a plan until an admin approves it, and ends by
        itself. This plan still needs its own approval.</p>
      <label>For the role <select name="role">${ROLES.map((role) => html`<option selected=${role === plan.requester?.role}>${role}</option>`)}</select></label>
      <label>For how long <select name="days">${DAYS.map((days) => html`<option value=${days} selected=${days === 7}>${plural(days, "day")}</option>`)}</select></label>
      ${problem && html`<p class="banner error" role="alert"><span>${visible(problem)}</span></p>`}
      <div class="actions end">
        <button type="button" onClick=${close}>Back</button>
        <button type="submit" class="primary" disabled=${busy}>Propose the rule</button>
      </div>
    </form>
  </${Dialog}>`;
}
