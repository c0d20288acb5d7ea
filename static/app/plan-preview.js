/**
 * What a step would touch: its targets, what differs before and after, and what else is known of them.
 *
 * Used by plan-card.js. Everything the server found is shown; what changes comes first.
 */

import { html } from "../vendor/preact.js";
import { cell, heading, plural, visible } from "./format.js";
import { Value } from "./value.js";

/** Facts that prove more than they tell. */
const PROOFS = ["sha256"];

/** @param {any} value */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {any} value @returns {Record<string, any>} */
const fields = (value) => (isObject(value) ? value : value === null || value === undefined ? {} : { value });

/** @param {any} a @param {any} b */
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** @param {{preview: {targets: string[], before: any, after: any, blast: number}}} props */
export function Preview({ preview }) {
  const before = fields(preview.before);
  const after = fields(preview.after);
  const changed = Object.keys(after).filter((key) => !PROOFS.includes(key) && !same(before[key], after[key]));
  const facts = Object.keys(before).filter((key) => !changed.includes(key));
  const proofs = PROOFS.filter((key) => key in after);
  return html`<div class="preview">
    <p class="small"><b>${plural(preview.blast, "target")}</b>${" "}
      ${preview.targets.map((target) => html`<code class="value">${visible(String(target))}</code>${" "}`)}</p>
    ${changed.length > 0 && html`<${Changes} keys=${changed} before=${before} after=${after} />`}
    ${
      facts.length + proofs.length > 0 &&
      html`<dl class="facts">
      ${facts.map((key) => html`<${Fact} name=${proofs.includes(key) ? `${key} now` : key} of=${key} value=${before[key]} />`)}
      ${proofs.map((key) => html`<${Fact} name=${`${key} afterwards`} of=${key} value=${after[key]} />`)}
    </dl>`
    }
  </div>`;
}

/** @param {{keys: string[], before: Record<string, any>, after: Record<string, any>}} props */
function Changes({ keys, before, after }) {
  return html`<div class="table-scroll"><table class="changes">
    <thead><tr><th scope="col">What</th><th scope="col">Now</th><th scope="col">Afterwards</th></tr></thead>
    <tbody>${keys.map(
      (key) => html`<tr>
        <th scope="row">${visible(heading(key))}</th>
        <td><${Side} name=${key} value=${before[key]} /></td>
        <td><${Side} name=${key} value=${after[key]} /></td>
      </tr>`,
    )}</tbody>
  </table></div>`;
}

/** @param {{name: string, value: any}} props */
function Side({ name, value }) {
  if (value === undefined || value === null) return html`<span class="muted">nothing</span>`;
  if (typeof value === "number" || typeof value === "boolean") return html`<span>${cell(name, value)}</span>`;
  return html`<${Value} value=${value} />`;
}

/** @param {{name: string, of: string, value: any}} props */
function Fact({ name, of, value }) {
  return html`<div><dt>${visible(heading(name))}</dt><dd>${
    isObject(value) ? html`<${Value} value=${value} />` : visible(cell(of, value))
  }</dd></div>`;
}
