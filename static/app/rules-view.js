/** What is allowed from now on without asking, and withdrawing it. Used by views.js. */

import { html, useEffect, useState } from "../vendor/preact.js";
import { confirmDialog } from "./dialog.js";
import { ago, localTime, visible } from "./format.js";
import { isAdmin, mayApprove, planCall, rpc, showPlanAlone } from "./store.js";
import { complain, say } from "./voice.js";

export function RulesView() {
  const [rules, setRules] = useState(/** @type {any[] | null} */ (null));
  const [failure, setFailure] = useState("");
  const load = () =>
    rpc("policy_rules").then(
      (data) => setRules(data.rules),
      (error) => setFailure(error.message),
    );
  useEffect(() => void load(), []);
  const withdraw = async (/** @type {any} */ rule) => {
    const what = `${rule.intent} on ${rule.target} is asked about again${isAdmin.value ? " from now on" : ", once an approver agrees"}.`;
    if (!(await confirmDialog("Withdraw this rule?", what, "Withdraw"))) return;
    try {
      const answer = await planCall("policy_withdraw", { rule_id: rule.rule_id });
      if (answer.plan) showPlanAlone(answer.plan);
      else say("The rule is withdrawn.");
      await load();
    } catch (error) {
      complain(error);
    }
  };
  if (failure) return html`<p class="banner error" role="alert"><span>${visible(failure)}</span></p>`;
  if (!rules) return html`<p class="muted">Loading…</p>`;
  return html`<p class="muted small">“Allow this from now on” on a step that policy asks about proposes a rule; an admin approves it, and it ends by
      itself. What policy forbids stays forbidden.</p>
    ${!rules.length && html`<p class="muted">There is none: everything that policy asks about is asked.</p>`}
    <ul class="entries">${rules.map(
      (rule) => html`<li key=${rule.rule_id}>
        <article class="entry-card" data-rule=${rule.rule_id}><header>
          <div class="grow">
            <h3><code>${visible(rule.intent)}</code> on ${visible(rule.target)}</h3>
            <p class="small muted">for the role ${visible(rule.role)}${rule.kind === "user" ? "" : ` (${visible(rule.kind)})`}, asked for by
              ${" "}${visible(rule.by)} ${ago(rule.created_at)}, ends ${localTime(rule.expires_at)}</p>
          </div>
          ${mayApprove.value && html`<button type="button" onClick=${() => withdraw(rule)}>Withdraw</button>`}
        </header></article>
      </li>`,
    )}</ul>`;
}
