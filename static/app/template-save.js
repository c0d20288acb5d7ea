/**
 * Keeping a decided plan as a template: a name, and which values of it become params.
 *
 * Used by aftermath.js. Each occurrence of a value in the plan becomes the param; the server checks and says what is wrong.
 */

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { Dialog } from "./dialog.js";
import { visible } from "./format.js";
import { Icon } from "./icons.js";
import { Labelled, goToWrong } from "./param-fields.js";
import { rpc, showView } from "./store.js";
import { say, toast } from "./voice.js";

/** @typedef {{key: number, value: string, name: string}} Row  a value of the plan and the param it becomes */

/** Texts and numbers in the params of a plan. @param {any} plan @returns {(string | number)[]} */
function valuesOf(plan) {
  /** @type {Set<string | number>} */
  const found = new Set();
  const walk = (/** @type {any} */ value) => {
    if (typeof value === "number" || (typeof value === "string" && value && value.length <= 80)) found.add(value);
    else if (typeof value === "object" && value !== null && !("$from" in value)) Object.values(value).forEach(walk);
  };
  for (const step of plan.steps) walk(step.params);
  return [...found];
}

/** The folders that all paths begin with say nothing of this plan. @param {string[]} paths @returns {string[]} */
function sharedFolders(paths) {
  const [first = [], ...others] = paths.map((path) => path.split("/"));
  const end = first.findIndex((part, i) => others.some((one) => one[i] !== part));
  return end < 0 ? first.slice(0, -1) : first.slice(0, end);
}

/** Words that stand in more than one value: likely what makes this plan one of many. @param {(string | number)[]} values */
function sharedWords(values) {
  const texts = values.filter((one) => typeof one === "string").map(String);
  const dull = new Set(sharedFolders(texts.filter((text) => text.startsWith("/"))));
  const words = texts.map((text) => new Set(text.match(/[\p{L}\p{N}_-]{3,}/gu) ?? []));
  const all = [...new Set(words.flatMap((set) => [...set]))].filter((word) => !dull.has(word));
  return all.filter((word) => words.filter((set) => set.has(word)).length > 1).slice(0, 6);
}

/** A number where the plan has that number, else the text. @param {string} text @param {(string | number)[]} values */
const meant = (text, values) => values.find((one) => typeof one === "number" && String(one) === text) ?? text;

/** @param {string} title */
const slug = (title) =>
  title
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 40);

/** @param {any} error @param {Row[]} rows @returns {Record<string, string>} */
function errorsOf(error, rows) {
  /** @type {Record<string, string>} */
  const found = {};
  for (const { pointer, message } of error.data?.fields ?? []) {
    const [, part, name] = pointer.split("/");
    const row = rows.find((one) => one.name === name);
    found[part === "params" && row ? `row-${row.key}` : ["name", "title", "description"].includes(part) ? part : ""] =
      message;
  }
  return Object.keys(found).length ? found : { "": error.message };
}

/** @param {{plan: any, close: () => void}} props */
export function TemplateSave({ plan, close }) {
  const values = valuesOf(plan);
  const [rows, setRows] = useState(/** @type {Row[]} */ ([]));
  const [errors, setErrors] = useState(/** @type {Record<string, string>} */ ({}));
  const [busy, setBusy] = useState(false);
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  useEffect(() => goToWrong(form.current), [errors]);
  const add = (/** @type {string} */ value, /** @type {string} */ name) => {
    const key = Math.max(0, ...rows.map((row) => row.key)) + 1;
    setRows([...rows, { key, value, name }]);
  };
  const change = (/** @type {number} */ key, /** @type {Partial<Row>} */ part) =>
    setRows(rows.map((row) => (row.key === key ? { ...row, ...part } : row)));
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const data = new FormData(/** @type {HTMLFormElement} */ (form.current));
    const text = (/** @type {string} */ name) => String(data.get(name) ?? "").trim();
    const params = Object.fromEntries(rows.map((row) => [row.name, { value: meant(row.value, values) }]));
    setBusy(true);
    try {
      await rpc("template_save", {
        name: text("name"),
        plan_id: plan.plan_id,
        title: text("title"),
        description: text("description"),
        params,
      });
      toast(`Saved as template ${text("name")}.`, 2);
      say("Template saved.");
      close();
      showView("templates");
    } catch (error) {
      setErrors(errorsOf(error, rows));
      setBusy(false);
    }
  };
  const title = plan.title || plan.request;
  const field = (/** @type {string} */ name, /** @type {string} */ label, /** @type {string} */ value, help = "") =>
    html`<${Labelled} name=${name} label=${label} help=${help} error=${errors[name]}>
      ${(/** @type {any} */ props) => html`<input ...${props} defaultValue=${value} autocomplete="off" />`}
    </${Labelled}>`;
  return html`<${Dialog} title="Save as template" close=${close} wide>
    <form ref=${form} class="template-save" onSubmit=${submit} noValidate>
      ${field("name", "Name", slug(title), "Lower-case letters, digits, - and _")}
      ${field("title", "Title", title)}
      ${field("description", "What it is for", "")}
      <fieldset>
        <legend>Params</legend>
        <p class="small muted">What changes from run to run. Each occurrence of the value in the plan becomes the param.</p>
        <${Suggestions} words=${sharedWords(values)} rows=${rows} add=${add} />
        <datalist id="plan-values">${values.map((one) => html`<option value=${String(one)} />`)}</datalist>
        ${rows.map((row) => html`<${ParamRow} key=${row.key} row=${row} error=${errors[`row-${row.key}`]} change=${change} remove=${() => setRows(rows.filter((one) => one !== row))} />`)}
        <button type="button" onClick=${() => add("", "")}><${Icon} name="plus" />Add a param</button>
      </fieldset>
      ${errors[""] && html`<p class="banner error" role="alert"><span>${visible(errors[""])}</span></p>`}
      <div class="actions end">
        <button type="button" class="quiet" onClick=${close}>Back</button>
        <button type="submit" class="primary" disabled=${busy}>Save template</button>
      </div>
    </form>
  </${Dialog}>`;
}

/** @param {{words: string[], rows: Row[], add: (value: string, name: string) => void}} props */
function Suggestions({ words, rows, add }) {
  const fresh = words.filter((word) => !rows.some((row) => row.value === word));
  if (!fresh.length) return null;
  return html`<p class="suggestions small"><span class="muted">Found more than once:</span>
    ${fresh.map((word) => html`<button type="button" class="small" onClick=${() => add(word, "name")}>${visible(word)}</button>`)}</p>`;
}

/** @param {{row: Row, error?: string, change: (key: number, part: Partial<Row>) => void, remove: () => void}} props */
function ParamRow({ row, error, change, remove }) {
  const { key, value, name } = row;
  return html`<div class="param-row" role="group" aria-label="Param ${name || "without a name"}">
    <label>Value in the plan <input list="plan-values" value=${value} autocomplete="off" class="mono" aria-invalid=${error ? "true" : undefined}
      onInput=${(/** @type {any} */ e) => change(key, { value: e.currentTarget.value })} /></label>
    <label>becomes the param <input value=${name} autocomplete="off" class="mono" pattern="[a-z][a-z0-9_]*"
      onInput=${(/** @type {any} */ e) => change(key, { name: e.currentTarget.value })} /></label>
    <button type="button" class="quiet icon-only" aria-label="Remove this param" onClick=${remove}><${Icon} name="trash" /></button>
    ${error && html`<p class="field-error small">${visible(error)}</p>`}
  </div>`;
}
