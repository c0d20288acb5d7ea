/**
 * Stop everything: all runs on all nodes between steps, and with a hold nothing new until it is released.
 *
 * Used by main.js. For admins; everybody sees the banner while it holds.
 */

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { Dialog } from "./dialog.js";
import { ago, visible } from "./format.js";
import { Icon } from "./icons.js";
import { hold, isAdmin, loadStatus, rpc } from "./store.js";
import { complain, say, toast } from "./voice.js";

/** The button and its question. */
export function StopAll() {
  const [asking, setAsking] = useState(false);
  if (!isAdmin.value) return null;
  return html`<button type="button" class="quiet stop-all" onClick=${() => setAsking(true)}><${Icon} name="stop" />Stop everything…</button>
    ${asking && html`<${StopQuestion} close=${() => setAsking(false)} />`}`;
}

/** @param {{close: () => void}} props */
function StopQuestion({ close }) {
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const data = new FormData(/** @type {HTMLFormElement} */ (form.current));
    const reason = String(data.get("reason")).trim();
    setBusy(true);
    try {
      await rpc("stop_all", { hold: data.get("hold") === "on", ...(reason ? { reason } : {}) });
      toast("Everything that runs is being stopped.", 2);
      say("Everything that runs is being stopped.");
      loadStatus();
      close();
    } catch (error) {
      setProblem(/** @type {Error} */ (error).message);
      setBusy(false);
    }
  };
  return html`<${Dialog} title="Stop everything?" close=${close}>
    <form ref=${form} class="stop-form" onSubmit=${submit}>
      <p>Every run on every node stops before its next step and ends as stopped. A step that is at work ends first. Plans that
        wait for a decision go on waiting.</p>
      <label>Reason <span class="muted">(goes to the audit trail)</span> <input name="reason" maxlength="500" autocomplete="off" /></label>
      <label class="confirm"><input type="checkbox" name="hold" /><span>Let nothing new start until an admin releases it</span></label>
      ${problem && html`<p class="banner error" role="alert"><span>${visible(problem)}</span></p>`}
      <div class="actions end">
        <button type="button" onClick=${close}>Keep running</button>
        <button type="submit" class="danger" disabled=${busy}><${Icon} name="stop" />Stop everything</button>
      </div>
    </form>
  </${Dialog}>`;
}

/** While nothing may start: by whom, why, and for admins the way out. */
export function HoldBanner() {
  const held = hold.value;
  const wasHeld = useRef(!!held);
  useEffect(() => {
    if (!!held === wasHeld.current) return;
    wasHeld.current = !!held;
    say(held ? "Everything is on hold. Nothing starts." : "The hold is over.");
  }, [held]);
  if (!held) return null;
  const release = () => rpc("stop_all_release").then(() => loadStatus(), complain);
  return html`<div class="banner warning hold" role="region" aria-label="On hold">
    <${Icon} name="stop" />
    <span class="grow"><b>On hold: nothing starts.</b> Ordered by ${visible(held.by ?? "an admin")}${held.at ? ` ${ago(held.at)}` : ""}${held.reason ? `: ${visible(held.reason)}` : ""}</span>
    ${isAdmin.value && html`<button type="button" class="small" onClick=${release}>Release</button>`}
  </div>`;
}
