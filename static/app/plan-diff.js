/**
 * What changed in a plan, step by step: after an edit, or since it was approved.
 *
 * Used by plan-card.js. An edit's changes come from the server; others are worked out from what this page saw before.
 */

import { html } from "../vendor/preact.js";
import { same } from "./diff.js";
import { heading, plural, visible } from "./format.js";
import { TextDiff } from "./plan-preview.js";
import { Value } from "./value.js";

const RULES = ["intent", "needs", "when", "on_error", "retries", "timeout_s"];
const WORDS = { added: "New", removed: "Removed", changed: "Changed", same: "" };

/** @typedef {{before?: any, after?: any}} Sides */
/** @typedef {{step_id: string, change: keyof typeof WORDS, fields: Record<string, Sides>}} StepChange  as `plan_edit` answers it */

/** What decides of a step, and what it would touch, by name. @param {any} step @returns {Record<string, any>} */
function deciding(step) {
  if (!step) return {};
  const params = Object.entries(step.params ?? {}).map(([name, value]) => [`params.${name}`, value]);
  const rules = RULES.map((name) => [name, step[name] ?? null]);
  const preview = step.preview && { targets: step.preview.targets, "number of targets": step.preview.blast };
  return Object.fromEntries([...rules, ...params, ...Object.entries(preview ?? {})]);
}

/** The changes between two versions as this page saw them. @param {any[]} before @param {any[]} after @returns {StepChange[]} */
export function stepChanges(before, after) {
  const old = new Map(before.map((step) => [step.id, step]));
  const fresh = new Map(after.map((step) => [step.id, step]));
  const gone = before.filter((step) => !fresh.has(step.id));
  return [...after, ...gone].map((step) => {
    const fields = fieldsBetween(deciding(old.get(step.id)), deciding(fresh.get(step.id)));
    const change = !old.has(step.id) ? "added" : !fresh.has(step.id) ? "removed" : "changed";
    return { step_id: step.id, change: Object.keys(fields).length ? change : "same", fields };
  });
}

/** @param {Record<string, any>} before @param {Record<string, any>} after @returns {Record<string, Sides>} */
function fieldsBetween(before, after) {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  const changed = names.filter((name) => !same(before[name] ?? null, after[name] ?? null));
  return Object.fromEntries(changed.map((name) => [name, { before: before[name], after: after[name] }]));
}

/** @param {{title: string, changes: StepChange[], steps: any[]}} props */
export function PlanDiff({ title, changes, steps }) {
  const shown = changes.filter((one) => one.change !== "same");
  return html`<section class="plan-diff" aria-label=${title}>
    <h4>${title} <span class="muted small">${shown.length ? plural(shown.length, "step") : "at most their order"}</span></h4>
    <ol>${shown.map(
      (one) => html`<li class="change ${one.change}">
        <p><b>${WORDS[one.change]}</b> ${visible(one.step_id)} <code>${visible(intentOf(one, steps))}</code></p>
        ${one.change === "changed" && Object.entries(one.fields).map(([name, sides]) => html`<${FieldChange} name=${name} sides=${sides} />`)}
      </li>`,
    )}</ol>
  </section>`;
}

/** @param {StepChange} change @param {any[]} steps as they are now */
const intentOf = ({ step_id, fields }, steps) =>
  String(steps.find((step) => step.id === step_id)?.intent ?? fields.intent?.before ?? "");

/** @param {{name: string, sides: Sides}} props */
function FieldChange({ name, sides: { before, after } }) {
  const texts = [before, after].every((value) => value === undefined || typeof value === "string");
  if (texts && [before, after].some((text) => text?.includes("\n"))) {
    return html`<${TextDiff} name=${name.replace(/^params\./, "")} before=${before ?? ""} after=${after ?? ""} />`;
  }
  return html`<div class="was">
    <span class="muted">${visible(heading(name.replace(/^params\./, "")))}</span>
    <del><span class="offscreen">before: </span><${Side} value=${before} /></del>
    <ins><span class="offscreen">now: </span><${Side} value=${after} /></ins>
  </div>`;
}

/** @param {{value: any}} props */
const Side = ({ value }) =>
  value === undefined || value === null ? html`<span class="muted">nothing</span>` : html`<${Value} value=${value} />`;
