/**
 * A form for params: one field each, typed by its value and a JSON Schema; read back to the same values.
 *
 * Used by plan-edit.js and templates.js. What nobody touched stays as it is, to the byte.
 */

import { html } from "../vendor/preact.js";
import { visible } from "./format.js";

/** @typedef {{name: string, kind: "text" | "number" | "boolean" | "choice" | "json", choices: any[], help: string, required: boolean}} Field */
/** @typedef {{name: string, message: string}} Problem  of the field with that name in the form */

/** @param {Record<string, any>} params @param {any} schema of an object @returns {Field[]} */
export function fieldsOf(params, schema) {
  const names = [...new Set([...Object.keys(params), ...Object.keys(schema?.properties ?? {})])];
  return names.map((name) => {
    const property = schema?.properties?.[name] ?? {};
    return {
      name,
      kind: kindOf(params[name], property),
      choices: property.enum ?? [],
      help: property.description ?? "",
      required: (schema?.required ?? []).includes(name),
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
    if (!Number.isFinite(value)) throw new Error("must be a number");
    return value;
  }
  return parsed(text);
}

/** @param {string} text @returns {any} */
export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error('must be JSON, such as ["a", "b"] or {"key": 1}');
  }
}

/** A text area changes line ends: untouched is what reads the same. @param {string} text @param {any} old @param {Field} field */
function changed(text, old, field) {
  return text === shown(old, field.kind).replace(/\r\n?/g, "\n") ? old : meant(text, field);
}

/**
 * The params that a form says.
 * @param {FormData} form @param {string} prefix of the fields' names @param {Field[]} fields @param {Record<string, any>} old
 * @returns {{params: Record<string, any>, problems: Problem[]}}
 */
export function readFields(form, prefix, fields, old) {
  const params = /** @type {Record<string, any>} */ ({});
  const problems = [];
  for (const field of fields) {
    try {
      const value = changed(String(form.get(prefix + field.name) ?? ""), old[field.name], field);
      if (value !== undefined) params[field.name] = value;
    } catch (error) {
      problems.push({ name: prefix + field.name, message: /** @type {Error} */ (error).message });
    }
  }
  return { params, problems };
}

/** Put the cursor into the first field that is wrong, opening what hides it. @param {HTMLFormElement | null} form */
export function goToWrong(form) {
  const field = /** @type {HTMLElement | null | undefined} */ (form?.querySelector('[aria-invalid="true"]'));
  const hidden = field?.closest("details");
  if (hidden) hidden.open = true;
  field?.focus();
}

/** A label, what it is about, the control, and what is wrong with it. @param {{name: string, label: any, help?: string, error?: string, children: (props: Record<string, any>) => any}} props */
export function Labelled({ name, label, help = "", error = "", children }) {
  const id = `e-${name.replace(/[^\w-]/g, "_")}`;
  const described = [help && `${id}-help`, error && `${id}-error`].filter(Boolean).join(" ");
  const props = { id, name, "aria-invalid": error ? "true" : undefined, "aria-describedby": described || undefined };
  return html`<div class="labelled">
    <label for=${id}>${label}</label>
    ${help && html`<p class="small muted" id="${id}-help">${visible(help)}</p>`}
    ${children(props)}
    ${error && html`<p class="field-error small" id="${id}-error">${visible(error)}</p>`}
  </div>`;
}

/** @param {{prefix: string, field: Field, value: any, error?: string}} props */
export function Input({ prefix, field, value, error }) {
  const text = shown(value, field.kind);
  const label = html`${visible(field.name)}${field.required ? "" : html`<span class="muted"> (optional)</span>`}`;
  return html`<${Labelled} name=${prefix + field.name} label=${label} help=${field.help} error=${error}>
    ${(/** @type {any} */ props) => control(props, field, value, text)}
  </${Labelled}>`;
}

/** @param {Record<string, any>} props @param {Field} field @param {any} value @param {string} text */
function control(props, field, value, text) {
  if (field.kind === "boolean" || field.kind === "choice") {
    const choices = field.kind === "boolean" ? [true, false] : field.choices;
    return html`<select ...${props}>
      ${!field.required && html`<option value="" selected=${value === undefined}>not given</option>`}
      ${choices.map((one) => html`<option value=${String(one)} selected=${one === value}>${String(one)}</option>`)}
    </select>`;
  }
  if (field.kind === "json" || text.includes("\n") || text.length > 60) {
    const rows = Math.min(Math.max(text.split("\n").length, 2), 14);
    return html`<textarea ...${props} rows=${rows} class="mono" spellcheck=${false} defaultValue=${text} />`;
  }
  const mode = field.kind === "number" ? "decimal" : "text";
  return html`<input ...${props} class="mono" defaultValue=${text} inputmode=${mode} spellcheck=${false} autocomplete="off" />`;
}
