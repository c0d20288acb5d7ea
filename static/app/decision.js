/**
 * Approve, reject or edit a waiting plan.
 *
 * Own, reversible writes on one target take one click; everything else takes a second deliberate act first. Nothing here
 * is ever focused by the panel itself, and no bare key approves. Used by plan-card.js; keyed by digest, so a changed
 * plan starts with nothing ticked.
 */

import { html, useRef, useState } from "../vendor/preact.js";
import { session } from "./auth.js";
import { plural, shortDigest, visible } from "./format.js";
import { Icon } from "./icons.js";
import { PlanEditor } from "./plan-edit.js";
import { blast, hindrance, isSimple, targets } from "./plan-rules.js";
import { intents, mayApprove, planCall, say } from "./store.js";

/** @param {{plan: any}} props */
export function Decision({ plan }) {
  const [mode, setMode] = useState(/** @type {"" | "edit" | "reject"} */ (""));
  const [problem, setProblem] = useState("");
  const user = session.value?.user ?? "";
  const obstacle = hindrance(plan, user, mayApprove.value);
  const act = async (
    /** @type {string} */ intent,
    /** @type {Record<string, any>} */ params,
    /** @type {string} */ said,
  ) => {
    setProblem("");
    try {
      await planCall(intent, { plan_id: plan.plan_id, ...params });
      setMode("");
      say(said);
    } catch (error) {
      const { code, message } = /** @type {any} */ (error);
      setProblem(message);
      if (code === "conflict" || code === "expired") planCall("plan_get", { plan_id: plan.plan_id }).catch(() => {});
    }
  };
  return html`<footer class="decision">
    ${problem && html`<p class="banner error" role="alert"><${Icon} name="warning" /><span>${visible(problem)}</span></p>`}
    ${obstacle && html`<p class="small muted">${obstacle}</p>`}
    ${mode === "edit" && html`<${PlanEditor} plan=${plan} save=${(/** @type {any} */ steps) => act("plan_edit", { steps }, "Plan changed. Read it again before you approve.")} cancel=${() => setMode("")} />`}
    ${mode === "reject" && html`<${Reject} done=${(/** @type {string} */ reason) => act("plan_reject", { reason }, "Plan rejected.")} cancel=${() => setMode("")} />`}
    ${mode === "" && html`<${Choice} plan=${plan} user=${user} obstacle=${obstacle} act=${act} setMode=${setMode} />`}
  </footer>`;
}

/** @param {{plan: any, user: string, obstacle: string, act: Function, setMode: (mode: "edit" | "reject") => void}} props */
function Choice({ plan, user, obstacle, act, setMode }) {
  const [read, setRead] = useState(false);
  const [busy, setBusy] = useState(false);
  const simple = isSimple(plan, user, intents.value);
  const ready = !obstacle && (simple || read) && !busy;
  const approve = async () => {
    if (!ready) return;
    setBusy(true);
    await act("plan_approve", { digest: plan.digest }, "Plan approved.");
    setBusy(false);
  };
  return html`${!simple && !obstacle && html`<${Confirm} plan=${plan} read=${read} setRead=${setRead} />`}
    <div class="actions">
      <button
        type="button"
        class="primary ${plan.effect}"
        data-approve=${simple ? "simple" : "confirm"}
        disabled=${!ready}
        onClick=${approve}
      >
        <${Icon} name="check" />${plan.effect === "read" ? "Run" : busy ? "Approving…" : "Approve and run"}
      </button>
      ${mayApprove.value && html`<button type="button" onClick=${() => setMode("edit")}><${Icon} name="edit" />Edit</button>`}
      ${mayApprove.value && html`<button type="button" onClick=${() => setMode("reject")}><${Icon} name="cross" />Reject</button>`}
    </div>`;
}

/** The second deliberate act. @param {{plan: any, read: boolean, setRead: (read: boolean) => void}} props */
function Confirm({ plan, read, setRead }) {
  const names = targets(plan);
  const count = plural(Math.max(blast(plan), names.length), "target");
  return html`<label class="confirm">
    <input type="checkbox" checked=${read} data-confirm onChange=${(/** @type {any} */ e) => setRead(e.currentTarget.checked)} />
    <span>I have read the ${count}${names.length ? ": " : ""}<b>${visible(names.join(", "))}</b>
      ${" "}and the params of plan <code>${shortDigest(plan.digest)}</code></span>
  </label>`;
}

/** @param {{done: (reason: string) => void, cancel: () => void}} props */
function Reject({ done, cancel }) {
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    done(field.current?.value.trim() || "not wanted");
  };
  return html`<form class="reject" onSubmit=${submit}>
    <label>Why not? <input ref=${field} name="reason" maxlength="500" placeholder="wrong host, not now, …" autofocus /></label>
    <div class="actions">
      <button type="submit" class="danger">Reject the plan</button>
      <button type="button" class="quiet" onClick=${cancel}>Back</button>
    </div>
  </form>`;
}
