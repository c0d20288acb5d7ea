/** The rules of a step in the editor (order, condition, failure, tries, time), and a new step. Used by plan-edit.js. */

import { html, useState } from "../vendor/preact.js";
import { Icon } from "./icons.js";
import { Labelled } from "./param-fields.js";
import { intents } from "./store.js";

const FAILURES = [
  ["stop", "the plan stops"],
  ["continue", "the plan goes on"],
  ["undo", "everything done before is taken back"],
];

/** @param {{prefix: string, step: any, errors: Record<string, string>}} props */
export function StepRules({ prefix, step, errors }) {
  const error = (/** @type {string} */ name) => errors[`${prefix}.${name}`];
  const text = (
    /** @type {string} */ name,
    /** @type {string} */ label,
    /** @type {string} */ value,
    help = "",
    mode = "text",
  ) =>
    html`<${Labelled} name="${prefix}.${name}" label=${label} help=${help} error=${error(name)}>
      ${(/** @type {any} */ props) => html`<input ...${props} class="mono" defaultValue=${value} inputmode=${mode} spellcheck=${false} autocomplete="off" />`}
    </${Labelled}>`;
  return html`<details class="small">
    <summary>Order, condition, failure, time</summary>
    <div class="rules-form">
      ${text("needs", "Runs after", step.needs.join(", "), "Ids of steps, such as s1, s2")}
      ${text("when", "Only if", step.when ?? "", 'CEL, such as steps.s1.result.count > 0 or steps.s1.state == "failed"')}
      <${Labelled} name="${prefix}.on_error" label="If it fails" error=${error("on_error")}>
        ${(/** @type {any} */ props) =>
          html`<select ...${props}>${FAILURES.map(
            ([value, words]) => html`<option value=${value} selected=${value === step.on_error}>${words}</option>`,
          )}</select>`}
      </${Labelled}>
      ${text("retries", "Tried again, times", String(step.retries), "", "numeric")}
      ${text("timeout_s", "Given up after, seconds", String(step.timeout_s ?? ""), "", "decimal")}
    </div>
  </details>`;
}

/** @param {FormData} form @param {string} prefix @param {any} step @returns {{values: any, problems: import("./param-fields.js").Problem[]}} */
export function readRules(form, prefix, step) {
  const text = (/** @type {string} */ name) => String(form.get(`${prefix}.${name}`) ?? "").trim();
  /** @type {import("./param-fields.js").Problem[]} */
  const problems = [];
  const figure = (/** @type {string} */ name, /** @type {any} */ old) => {
    if (text(name) === "" || Number.isFinite(Number(text(name)))) return text(name) === "" ? old : Number(text(name));
    problems.push({ name: `${prefix}.${name}`, message: "must be a number" });
    return old;
  };
  const values = {
    needs: text("needs")
      .split(/[\s,]+/)
      .filter(Boolean),
    when: text("when") === (step.when ?? "").trim() ? step.when : text("when") || null,
    on_error: text("on_error") || step.on_error,
    retries: figure("retries", 0),
    timeout_s: figure("timeout_s", step.timeout_s),
  };
  return { values, problems };
}

/** @param {{steps: any[], add: (step: any) => void}} props */
export function AddStep({ steps, add }) {
  const [intent, setIntent] = useState("");
  const known = [...intents.value].sort((a, b) => a.name.localeCompare(b.name));
  const put = () => {
    let number = steps.length + 1;
    while (steps.some((step) => step.id === `s${number}`)) number += 1;
    const rules = { needs: [], when: null, on_error: "stop", retries: 0 }; // the server knows how long the intent may take
    add({ id: `s${number}`, intent, params: {}, ...rules });
    setIntent("");
  };
  return html`<div class="add-step">
    <div class="labelled">
      <label for="add-intent">One more step</label>
      <select id="add-intent" value=${intent} onChange=${(/** @type {any} */ e) => setIntent(e.currentTarget.value)}>
        <option value="">choose an intent</option>
        ${known.map((one) => html`<option value=${one.name}>${one.name}</option>`)}
      </select>
    </div>
    <button type="button" disabled=${!intent} onClick=${put}><${Icon} name="plus" />Add step</button>
  </div>`;
}
