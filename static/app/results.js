/**
 * Results of steps as tables, charts, fields and texts, from `RUN_FINISHED.result.results[].display`.
 *
 * Used by message.js. Every value is a text node.
 */

import { html } from "../vendor/preact.js";
import { Chart } from "./chart.js";
import { title, visible } from "./format.js";
import { Table } from "./table.js";
import { Facts } from "./facts.js";

/** @param {{results: {step_id: string, intent: string, display: any}[]}} props */
export function Results({ results }) {
  return html`${results.map((result) => html`<${Result} key=${result.step_id} result=${result} />`)}`;
}

/** @param {{result: {step_id: string, intent: string, display: any}}} props */
function Result({ result }) {
  const { display, intent } = result;
  if (display.kind === "text" && !display.text && !display.fields?.length) return null;
  switch (display.kind) {
    case "table":
      return html`<${Table} name=${intent} columns=${display.columns} rows=${display.rows} />`;
    case "series":
      return html`<${Chart} name=${intent} display=${display} />
        ${
          display.fields?.length > 0 &&
          html`<figure class="result"><figcaption>${title(intent)}</figcaption><${Facts} facts=${display.fields} /></figure>`
        }`;
    case "fields":
      return html`<figure class="result"><figcaption>${title(intent)}</figcaption><${Facts} facts=${display.fields} /></figure>`;
    case "text":
      return html`<figure class="result"><figcaption>${title(intent)}</figcaption>
        ${display.fields?.length > 0 && html`<${Facts} facts=${display.fields} />`}
        <pre tabindex="0" aria-label=${title(intent)}>${visible(String(display.text))}</pre></figure>`;
    default:
      return null;
  }
}
