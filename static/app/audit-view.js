/**
 * The audit trail for admins: who did what, when, to which plan; filters, and older records page by page. Used by views.js.
 *
 * What a record holds is data of anybody: shown as text, whole.
 */

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { localTime, plural, visible } from "./format.js";
import { planCall, rpc, showPlanAlone } from "./store.js";
import { AsJson, Fields } from "./value.js";
import { complain } from "./voice.js";

const PAGE = 50;
const FILTERS = [
  ["actor", "Person", "text"],
  ["action", "Action", "text"],
  ["plan_id", "Plan", "text"],
  ["run_id", "Run", "text"],
  ["text", "Words", "search"],
  ["since", "From", "datetime-local"],
  ["until", "To", "datetime-local"],
];

/** The filters that say something, as the RPC takes them. @param {FormData} form @returns {Record<string, string>} */
function asked(form) {
  const given = FILTERS.map(([name, , kind]) => {
    const text = String(form.get(name) ?? "").trim();
    return [name, text && kind === "datetime-local" ? new Date(text).toISOString() : text];
  });
  return Object.fromEntries(given.filter(([, text]) => text));
}

export function AuditView() {
  const [records, setRecords] = useState(/** @type {any[]} */ ([]));
  const [before, setBefore] = useState(/** @type {number | null} */ (null));
  const [state, setState] = useState("Loading…");
  const [failure, setFailure] = useState("");
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  const load = async (/** @type {number | null} */ from) => {
    setFailure("");
    const filters = asked(new FormData(/** @type {HTMLFormElement} */ (form.current)));
    try {
      const data = await rpc("audit_query", { limit: PAGE, ...filters, ...(from ? { before_seq: from } : {}) });
      const all = from ? [...records, ...data.records] : data.records;
      setRecords(all);
      setBefore(data.before_seq ?? null);
      setState(`${plural(all.length, "record")} shown, newest first${data.before_seq ? "" : "; nothing older fits"}`);
    } catch (error) {
      setFailure(/** @type {Error} */ (error).message);
      setState("");
    }
  };
  useEffect(() => void load(null), []);
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    load(null);
  };
  return html`<form class="filters" role="search" aria-label="Filter the audit trail" ref=${form} onSubmit=${submit}>
      ${FILTERS.map(([name, label, kind]) => html`<label>${label} <input name=${name} type=${kind} autocomplete="off" spellcheck=${false} /></label>`)}
      <button type="submit">Find</button>
    </form>
    ${failure && html`<p class="banner error" role="alert"><span>${visible(failure)}</span></p>`}
    <p class="small muted" role="status">${state}</p>
    <ol class="entries records">${records.map((record) => html`<li key=${record.seq}><${Record} record=${record} /></li>`)}</ol>
    ${before !== null && html`<button type="button" onClick=${() => load(before)}>Older records</button>`}`;
}

/** What a record is about, in a line; the whole is inside. @param {any} facts */
function gist(facts) {
  const named = ["intent", "step_id", "template", "reason", "comment", "prompt", "plan_id", "run_id"];
  return named
    .map((name) => facts?.[name])
    .filter((value) => typeof value === "string" && value)
    .slice(0, 2)
    .join(" · ");
}

/** @param {{record: any}} props */
function Record({ record }) {
  const { seq, time, actor, action, facts, hash } = record;
  const plan = facts?.plan_id;
  const show = () => planCall("plan_get", { plan_id: plan }).then((data) => showPlanAlone(data.plan), complain);
  return html`<details class="entry-card record" data-seq=${seq}>
    <summary><span class="muted seq">${seq}</span> <b>${visible(action)}</b>
      <span>${visible(actor?.name ?? "nobody")}</span> <span class="gist muted small grow">${visible(gist(facts))}</span> <span class="muted small">${time ? localTime(time) : ""}</span></summary>
    <${Fields} fields=${Object.entries(facts ?? {})} />
    <p class="small muted">hash <code class="value">${hash}</code></p>
    <${AsJson} title="As JSON" value=${record} />
    ${plan && html`<div class="actions"><button type="button" class="small" onClick=${show}>Show the plan</button></div>`}
  </details>`;
}
