/**
 * Editing the params of a waiting plan: one field a param, typed by its value and the intent's schema.
 *
 * What is saved goes to the server as steps; it checks them and answers with a new digest. Used by decision.js.
 */

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { visible } from "./format.js";
import { lookAt } from "./scroll.js";
import { intents } from "./store.js";

/** @typedef {{step: string, name: string, kind: "text" | "number" | "boolean" | "choice" | "json" | "absent", choices: any[], help: string, required: boolean}} Field */

/** @param {any} step @returns {Field[]} */
function fieldsOf(step) {
  const schema = intents.value.find((one) => one.name === step.intent)?.schema ?? {};
  const names = [...new Set([...Object.keys(step.params), ...Object.keys(schema.properties ?? {})])];
  return names.map((name) => {
    const property = schema.properties?.[name] ?? {};
    return {
      step: step.id,
      name,
      kind: kindOf(step.params[name], property),
      choices: property.enum ?? [],
      help: property.description ?? "",
      required: (schema.required ?? []).includes(name),
    };
  });
}

/** @param {any} value @param {any} property @returns {Field["kind"]} */
function kindOf(value, property) {
  const type = value === undefined ? property.type : Array.isArray(value) ? "array" : typeof value;
  if (property.enum && (value === undefined || typeof value !== "object")) return "choice";
  if (type === "boolean") return "boolean";
  if (type === "number" || type === "integer") return "number";
  return type === "string" ? "text" : "json";
}

/** @param {any} value @param {Field["kind"]} kind */
const shown = (value, kind) =>
  value === undefined ? "" : kind === "json" ? JSON.stringify(value, null, 2) : String(value);

/** The value that a text means; undefined: leave the param out. @param {string} text @param {Field} field */
function meant(text, field) {
  if (field.kind !== "text" && text.trim() === "") return undefined;
  if (field.kind === "text") return text === "" && !field.required ? undefined : text;
  if (field.kind === "choice") return field.choices.find((one) => String(one) === text);
  if (field.kind === "boolean") return text === "true";
  if (field.kind === "number") {
    const value = Number(text);
    if (!Number.isFinite(value)) throw new Error(`${field.name} must be a number`);
    return value;
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${field.name} must be JSON, such as ["a", "b"] or {"key": 1}`);
  }
}

/** What nobody touched stays as it is, to the byte: a text area changes line ends. @param {string} text @param {any} old @param {Field} field */
function changed(text, old, field) {
  return text === shown(old, field.kind).replace(/\r\n?/g, "\n") ? old : meant(text, field);
}

/** A step as the wire takes it. @param {any} step @param {Record<string, any>} params */
function wireStep(step, params) {
  const { id, intent, needs, when, on_error, retries, timeout_s } = step;
  return { id, intent, params, needs, when, on_error, retries, timeout_s };
}

/** @param {{plan: any, save: (steps: any[]) => void, cancel: () => void}} props */
export function PlanEditor({ plan, save, cancel }) {
  const [problem, setProblem] = useState("");
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  useEffect(() => {
    /** @type {HTMLElement | null | undefined} */ (form.current?.querySelector("input, select, textarea"))?.focus({ preventScroll: true });
    if (form.current) lookAt(form.current);
  }, []);
  const submit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    try {
      const steps = plan.steps.map((/** @type {any} */ step) => {
        const params = /** @type {Record<string, any>} */ ({});
        for (const field of fieldsOf(step)) {
          const value = changed(String(form.get(`${step.id}.${field.name}`) ?? ""), step.params[field.name], field);
          if (value !== undefined) params[field.name] = value;
        }
        return wireStep(step, params);
      });
      setProblem("");
      save(steps);
    } catch (error) {
      setProblem(/** @type {Error} */ (error).message);
    }
  };
  return html`<form class="editor" ref=${form} onSubmit=${submit} noValidate>
    ${plan.steps.map(
      (/** @type {any} */ step) => html`<fieldset>
        <legend>${step.id} <code>${visible(step.intent)}</code></legend>
        ${fieldsOf(step).map((field) => html`<${Input} field=${field} value=${step.params[field.name]} />`)}
      </fieldset>`,
    )}
    ${problem && html`<p class="banner error" role="alert"><span>${problem}</span></p>`}
    <p class="small muted">Saving checks the params, makes a new digest and drops approvals given.</p>
    <div class="actions">
      <button type="submit" class="primary">Save changes</button>
      <button type="button" class="quiet" onClick=${cancel}>Back</button>
    </div>
  </form>`;
}

/** @param {{field: Field, value: any}} props */
function Input({ field, value }) {
  const name = `${field.step}.${field.name}`;
  const text = shown(value, field.kind);
  const label = html`<span>${visible(field.name)}${field.required ? "" : html`<span class="muted"> (optional)</span>`}</span>`;
  const help = field.help && html`<span class="small muted">${visible(field.help)}</span>`;
  if (field.kind === "boolean" || field.kind === "choice") {
    const choices = field.kind === "boolean" ? [true, false] : field.choices;
    return html`<label>${label}
      <select name=${name}>
        ${!field.required && html`<option value="" selected=${value === undefined}>not given</option>`}
        ${choices.map((one) => html`<option value=${String(one)} selected=${one === value}>${String(one)}</option>`)}
      </select>${help}</label>`;
  }
  if (field.kind === "json" || text.includes("\n") || text.length > 60) {
    const rows = Math.min(Math.max(text.split("\n").length, 2), 14);
    return html`<label>${label}<textarea name=${name} rows=${rows} class="mono" spellcheck=${false} defaultValue=${text} />${help}</label>`;
  }
  return html`<label>${label}
    <input name=${name} class="mono" defaultValue=${text} inputmode=${field.kind === "number" ? "decimal" : "text"} spellcheck=${false} autocomplete="off" />${help}</label>`;
}
