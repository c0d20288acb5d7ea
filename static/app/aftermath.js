/**
 * A plan that is decided: who approved it, how far it is, how it ended, and what can be done with it now: stop it, take
 * it back, keep it as a template.
 *
 * Used by plan-card.js. After an approval the reader is brought here, so that what happens next is in view.
 */

import { html, useState } from "../vendor/preact.js";
import { plural, visible } from "./format.js";
import { Icon } from "./icons.js";
import { changing } from "./plan-rules.js";
import { TemplateSave } from "./template-save.js";
import { Votes } from "./votes.js";
import { mayApprove, planCall, rpc, showPlanHere } from "./store.js";
import { complain, say } from "./voice.js";

const UNDOABLE = ["done", "failed", "cancelled", "needs_human", "rejected", "expired"];

/** @param {any} plan @param {string} state */
const inState = (plan, state) => plan.steps.filter((/** @type {any} */ step) => step.state === state);

/** Where the plan stands, in a sentence. @param {any} plan @returns {string} */
export function standing(plan) {
  const total = plan.steps.length;
  const done = inState(plan, "done").length;
  const running = inState(plan, "running").map((/** @type {any} */ step) => step.id);
  switch (plan.status) {
    case "approved":
      return "Approved. It starts at once.";
    case "running":
      return `Running${running.length ? ` ${running.join(", ")}` : ""}: ${done} of ${plural(total, "step")} done.`;
    case "done":
      return `Done: ${endings(plan)}.`;
    case "failed":
      return `Failed: ${endings(plan)}.`;
    case "cancelled":
      return `Stopped: ${endings(plan)}.`;
    case "undone":
      return "Everything that it changed has been taken back.";
    case "needs_human":
      return "It could not be taken back completely. A person has to look after what is left.";
    case "rejected":
      return inState(plan, "pending").length === plan.steps.length ? "Rejected. Nothing of it ran." : `The rest was rejected: ${endings(plan)}.`;
    case "expired":
      return inState(plan, "pending").length === plan.steps.length
        ? "Expired before it was decided or begun. Ask again."
        : `Nobody decided about the rest in time: ${endings(plan)}.`;
    default:
      return "";
  }
}

/** How many steps ended how. @param {any} plan */
function endings(plan) {
  const words = { done: "done", failed: "failed", skipped: "skipped", undone: "taken back", pending: "not begun" };
  return Object.entries(words)
    .map(([state, word]) => [inState(plan, state).length, word])
    .filter(([count]) => count)
    .map(([count, word], i) => (i ? `${count} ${word}` : `${plural(Number(count), "step")} ${word}`))
    .join(", ");
}

/** @param {{plan: any, place: {current: any}}} props */
export function Aftermath({ plan, place }) {
  const [busy, setBusy] = useState(false);
  const [saving, setSaving] = useState(false);
  const running = plan.status === "running" && plan.run_id;
  const changed = changing(plan).some((step) => ["done", "failed", "unknown"].includes(step.state));
  const undoable = mayApprove.value && plan.run_id && !plan.undoes && UNDOABLE.includes(plan.status) && changed;
  const stop = () => rpc("run_cancel", { run_id: plan.run_id }).catch(complain);
  const takeBack = async () => {
    setBusy(true);
    try {
      const { plan: undo } = await planCall("run_undo", { run_id: plan.run_id });
      say("A plan that takes it back is made. It is shown below.");
      showPlanHere(undo);
    } catch (error) {
      complain(error);
    }
    setBusy(false);
  };
  return html`<footer class="aftermath" ref=${place} tabindex="-1" aria-label="Where the plan stands">
    <p class="standing"><b>${standing(plan)}</b></p>
    ${plan.status === "needs_human" && html`<${Left} plan=${plan} />`}
    <${Votes} plan=${plan} />
    <div class="actions">
      ${running && html`<button type="button" onClick=${stop}><${Icon} name="stop" />Stop</button>`}
      ${undoable && html`<button type="button" disabled=${busy} onClick=${takeBack}><${Icon} name="undo" />Take back…</button>`}
      ${!running && mayApprove.value && html`<button type="button" class="quiet" onClick=${() => setSaving(true)}><${Icon} name="save" />Save as template</button>`}
    </div>
    ${saving && html`<${TemplateSave} plan=${plan} close=${() => setSaving(false)} />`}
  </footer>`;
}

/** What a failed undo has left behind. @param {{plan: any}} props */
function Left({ plan }) {
  const left = changing(plan).filter((step) => !["undone", "pending", "skipped"].includes(step.state));
  return html`<div class="banner error" role="group" aria-label="What is left">
    <${Icon} name="warning" />
    <div><b>What is left:</b><ul>${left.map(
      (step) =>
        html`<li>${visible(step.id)} <code>${visible(step.intent)}</code> ${visible((step.preview?.targets ?? []).join(", "))}</li>`,
    )}</ul></div>
  </div>`;
}
