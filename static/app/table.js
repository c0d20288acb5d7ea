/** A sortable table that can be copied as CSV. Used by results.js and chart.js. */

import { html, useState } from "../vendor/preact.js";
import { copyText } from "./copy.js";
import { cell, heading, plural, title, visible } from "./format.js";

const FIRST_ROWS = 12;

/** @param {any} a @param {any} b */
function compare(a, b) {
  if (a === null || a === undefined) return b === null || b === undefined ? 0 : 1;
  if (b === null || b === undefined) return -1;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

/** A cell for spreadsheets: quoted, and never a formula. @param {any} value */
function csvCell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
}

/** @param {string[]} columns @param {any[][]} rows */
export const csv = (columns, rows) => [columns, ...rows].map((row) => row.map(csvCell).join(",")).join("\r\n");

/** @param {{name: string, columns: string[], rows: any[][]}} props */
export function Table({ name, columns, rows }) {
  const [sort, setSort] = useState(/** @type {{by: number, down: boolean} | null} */ (null));
  const [all, setAll] = useState(false);
  const sorted = sort ? [...rows].sort((a, b) => compare(a[sort.by], b[sort.by]) * (sort.down ? -1 : 1)) : rows;
  const shown = all ? sorted : sorted.slice(0, FIRST_ROWS);
  const numeric = columns.map(
    (_, i) => rows.length > 0 && rows.every((row) => row[i] === null || typeof row[i] === "number"),
  );
  const turn = (/** @type {number} */ by) =>
    setSort(sort?.by === by ? { by, down: !sort.down } : { by, down: numeric[by] });
  const order = (/** @type {number} */ i) => (sort?.by === i ? (sort.down ? "descending" : "ascending") : "none");
  return html`<figure class="result">
    <figcaption>
      <span class="grow">${title(name)} <span class="muted">${plural(rows.length, "row")}</span></span>
      <button type="button" class="quiet small" onClick=${(/** @type {any} */ e) => copyText(csv(columns, sorted), e.currentTarget)}>Copy as CSV</button>
    </figcaption>
    <div class="table-box" tabindex="0" role="group" aria-label=${title(name)}>
      <table>
        <thead><tr>${columns.map(
          (column, i) => html`<th scope="col" class=${numeric[i] ? "num" : ""} aria-sort=${order(i)}>
            <button type="button" onClick=${() => turn(i)}>${visible(heading(column))}<span class="arrow" aria-hidden="true">${sort?.by === i ? (sort.down ? "↓" : "↑") : ""}</span></button>
          </th>`,
        )}</tr></thead>
        <tbody>${shown.map(
          (row) =>
            html`<tr>${columns.map((column, i) => html`<td class=${numeric[i] ? "num" : ""}>${cell(column, row[i])}</td>`)}</tr>`,
        )}</tbody>
      </table>
    </div>
    ${
      rows.length > FIRST_ROWS &&
      html`<button type="button" class="quiet small" onClick=${() => setAll(!all)}>${all ? "Show fewer" : `Show all ${rows.length}`}</button>`
    }
  </figure>`;
}
