/**
 * Approve, reject or edit a waiting plan, or break the glass.
 *
 * Own, reversible writes on one target take one click; everything else takes a second deliberate act first. Nothing here
 * is ever focused before the person acts, and no bare key approves. Used by plan-card.js; keyed by digest, so a changed
 * plan starts with nothing ticked.
 */

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { plural, shortDigest, visible } from "./format.js";
import { Icon } from "./icons.js";
import { PlanEditor } from "./plan-edit.js";
import { approvalsLeft, asksApproval, blast, hindrance, isSimple, mayBreakGlass, targets } from "./plan-rules.js";
import { intents, mayApprove, person, planCall } from "./store.js";
import { say } from "./voice.js";
import { Votes } from "./votes.js";

/** @typedef {"" | "edit" | "reject" | "glass"} Mode */

/** What a decision says to screen readers. @param {any} plan */
function heard(plan) {
  const left = approvalsLeft(plan);
  return plan.status === "proposed" && left > 0
    ? `Approved. ${plural(left, "more approval")} needed.`
    : "Plan approved.";
}

/** @param {{plan: any, notice: (text: string) => void, decided: (what: "approved" | "edited" | "rejected") => void}} props */
export function Decision({ plan, notice, decided }) {
  const [mode, setMode] = useState(/** @type {Mode} */ (""));
  const user = person.value;
  const obstacle = hindrance(plan, user);
  /** Undefined if it did not work; then the card says why. @returns {Promise<any>} */
  const act = async (/** @type {string} */ intent, /** @type {Record<string, any>} */ params) => {
    notice("");
    try {
      return await planCall(intent, { plan_id: plan.plan_id, ...params });
    } catch (error) {
      const { code, message } = /** @type {any} */ (error);
      notice(message);
      if (["conflict", "expired", "not_found"].includes(code)) {
        planCall("plan_get", { plan_id: plan.plan_id }).catch(() => {});
      }
    }
  };
  const approve = async (/** @type {Record<string, any>} */ params) => {
    const answer = await act("plan_approve", { digest: plan.digest, ...params });
    if (!answer) return;
    setMode("");
    say(heard(answer.plan));
    decided("approved");
  };
  const reject = async (/** @type {string} */ reason) => {
    if (!(await act("plan_reject", { reason }))) return;
    say("Plan rejected.");
    decided("rejected");
  };
  const edited = () => {
    setMode("");
    say("Plan changed. Read it again before you approve.");
    decided("edited");
  };
  return html`<footer class="decision">
    <${Votes} plan=${plan} />
    ${obstacle && html`<p class="obstacle">${obstacle}</p>`}
    ${mode === "edit" && html`<${PlanEditor} plan=${plan} saved=${edited} cancel=${() => setMode("")} />`}
    ${mode === "reject" && html`<${Reject} done=${reject} cancel=${() => setMode("")} />`}
    ${mode === "glass" && html`<${BreakGlass} plan=${plan} approve=${approve} cancel=${() => setMode("")} />`}
    ${mode === "" && html`<${Choice} plan=${plan} user=${user} obstacle=${obstacle} approve=${approve} setMode=${setMode} />`}
  </footer>`;
}

/** @param {{plan: any, user: {name: string, role: string}, obstacle: string, approve: (params: any) => Promise<void>, setMode: (mode: Mode) => void}} props */
function Choice({ plan, user, obstacle, approve, setMode }) {
  const [read, setRead] = useState(false);
  const [busy, setBusy] = useState(false);
  const comment = useRef(/** @type {HTMLInputElement | null} */ (null));
  const simple = isSimple(plan, user.name, intents.value);
  const ready = !obstacle && (simple || read) && !busy;
  const decide = async () => {
    if (!ready) return;
    setBusy(true);
    const text = comment.current?.value.trim();
    await approve(text ? { comment: text } : {});
    setBusy(false);
  };
  return html`${!obstacle && plan.effect !== "read" && html`<${Comment} field=${comment} />`}
    ${!simple && !obstacle && html`<${Confirm} plan=${plan} read=${read} setRead=${setRead} />`}
    <div class="actions">
      <button
        type="button"
        class="primary ${plan.effect}"
        data-approve=${simple ? "simple" : "confirm"}
        disabled=${!ready}
        onClick=${decide}
      >
        <${Icon} name="check" />${plan.effect === "read" ? "Run" : busy ? "Approving…" : approvalsLeft(plan) > 1 ? "Approve" : "Approve and run"}
      </button>
      ${mayApprove.value && html`<button type="button" onClick=${() => setMode("edit")}><${Icon} name="edit" />Edit</button>`}
      ${mayApprove.value && html`<button type="button" onClick=${() => setMode("reject")}><${Icon} name="cross" />Reject</button>`}
      ${mayBreakGlass(plan, user) && asksApproval(plan) && html`<button type="button" class="quiet" onClick=${() => setMode("glass")}><${Icon} name="warning" />Break glass…</button>`}
    </div>`;
}

/** @param {{field: {current: HTMLInputElement | null}}} props */
function Comment({ field }) {
  return html`<details class="comment small">
    <summary>Add a comment</summary>
    <label>Comment, kept with your approval <input ref=${field} maxlength="2000" autocomplete="off" /></label>
  </details>`;
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
  useEffect(() => field.current?.focus(), []);
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    done(field.current?.value.trim() || "not wanted");
  };
  return html`<form class="reject" onSubmit=${submit}>
    <label>Why not? <input ref=${field} name="reason" maxlength="500" placeholder="wrong host, not now, …" /></label>
    <div class="actions">
      <button type="submit" class="danger">Reject the plan</button>
      <button type="button" class="quiet" onClick=${cancel}>Back</button>
    </div>
  </form>`;
}

const REASON_CHARS = 10;

/** One admin in place of everybody that policy asks for. @param {{plan: any, approve: (params: any) => Promise<void>, cancel: () => void}} props */
function BreakGlass({ plan, approve, cancel }) {
  const [reason, setReason] = useState("");
  const [sure, setSure] = useState(false);
  const [busy, setBusy] = useState(false);
  const field = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  useEffect(() => field.current?.focus(), []);
  const enough = reason.trim().length >= REASON_CHARS;
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!enough || !sure || busy) return;
    setBusy(true);
    await approve({ break_glass: true, comment: reason.trim() });
    setBusy(false);
  };
  return html`<form class="glass" onSubmit=${submit} aria-label="Break glass">
    <p class="banner warning"><${Icon} name="warning" /><span><b>Break glass.</b> You alone stand in for
      ${" "}${plural(Math.max(approvalsLeft(plan), 1), "approval")} that policy wants of other people. It is written to the audit
      trail and told to everybody at once. What policy denies stays denied.</span></p>
    <label>Why can it not wait? <span class="muted">(at least ${REASON_CHARS} characters)</span>
      <textarea ref=${field} rows="2" maxlength="2000" value=${reason} onInput=${(/** @type {any} */ e) => setReason(e.currentTarget.value)} /></label>
    <label class="confirm">
      <input type="checkbox" checked=${sure} onChange=${(/** @type {any} */ e) => setSure(e.currentTarget.checked)} />
      <span>I have read plan <code>${shortDigest(plan.digest)}</code> and its ${plural(blast(plan), "target")}
        ${" "}<b>${visible(targets(plan).join(", "))}</b>, and I take it on me</span>
    </label>
    <div class="actions">
      <button type="submit" class="danger" disabled=${!enough || !sure || busy}>Break the glass and run</button>
      <button type="button" class="quiet" onClick=${cancel}>Back</button>
    </div>
  </form>`;
}
