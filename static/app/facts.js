/**
 * Named figures of a result for people: numbers with their units, lists of objects as small tables.
 *
 * Used by results.js. Params of plans are never shown this way: there every character counts (value.js).
 */

import { html } from "../vendor/preact.js";
import { cell, heading, visible } from "./format.js";
import { Value } from "./value.js";

/** @param {any} value */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {{facts: [string, any][]}} props */
export function Facts({ facts }) {
  return html`<dl class="fields">
    ${facts.map(
      ([name, value]) => html`<div>
        <dt>${visible(heading(name))}</dt>
        <dd><${Fact} name=${name} value=${value} /></dd>
      </div>`,
    )}
  </dl>`;
}

/** @param {{name: string, value: any}} props */
function Fact({ name, value }) {
  if (isObject(value)) return html`<${Facts} facts=${Object.entries(value)} />`;
  if (Array.isArray(value)) {
    if (!value.length) return html`<span class="muted">none</span>`;
    if (value.every(isObject)) return html`<${Rows} rows=${value} />`;
    return value.map((one) => cell(name, one)).join(", ");
  }
  return typeof value === "string" && value.includes("\n") ? html`<${Value} value=${value} />` : cell(name, value);
}

/** @param {{rows: Record<string, any>[]}} props */
function Rows({ rows }) {
  const columns = [...new Set(rows.flatMap(Object.keys))];
  const text = (/** @type {string} */ column, /** @type {any} */ value) =>
    Array.isArray(value) ? value.map((one) => cell(column, one)).join(", ") : cell(column, value);
  return html`<div class="md-table" tabindex="0" role="group" aria-label="Table">
    <table>
      <thead><tr>${columns.map((column) => html`<th scope="col">${visible(heading(column))}</th>`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr>${columns.map((column) => html`<td>${text(column, row[column])}</td>`)}</tr>`)}</tbody>
    </table>
  </div>`;
}
