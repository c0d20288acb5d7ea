/**
 * JSON values shown whole, as text nodes: nothing shortened, nothing interpreted, hidden characters written out.
 *
 * Used for params, previews, results of runs and audit records. What could be mistaken (the text "5" for the number 5,
 * a space at an end) stands in quotation marks.
 */

import { html } from "../vendor/preact.js";
import { visible } from "./format.js";

/** @param {any} value @returns {value is Record<string, any>} */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Texts that read like another value, or whose ends show nothing. @param {string} text */
const isAmbiguous = (text) => /^(null|true|false|-?\d+(\.\d+)?([eE][+-]?\d+)?)$/.test(text) || /^\s|\s$/.test(text);

/** @param {{value: any}} props */
export function Value({ value }) {
  if (isObject(value)) return html`<${Structure} value=${value} />`;
  if (typeof value === "string") {
    if (value === "") return html`<span class="muted">empty text</span>`;
    if (value.includes("\n")) return html`<pre class="value" tabindex="0">${visible(value)}</pre>`;
    return html`<code class="value">${visible(isAmbiguous(value) ? JSON.stringify(value) : value)}</code>`;
  }
  if (!Array.isArray(value)) return html`<code class="value literal">${JSON.stringify(value) ?? "nothing"}</code>`;
  if (value.every((one) => typeof one !== "object" || one === null)) {
    return html`<code class="value">${visible(JSON.stringify(value))}</code>`;
  }
  return html`<ol class="items">${value.map((one) => html`<li><${Value} value=${one} /></li>`)}</ol>`;
}

/** An object: a reference to an earlier result, a place for a template's param, or names with values. @param {{value: Record<string, any>}} props */
function Structure({ value }) {
  if (typeof value.$from === "string") {
    return html`<span class="reference">result of ${visible(value.$from)}</span>${" "}
      <code class="value">${visible(String(value.path ?? "@"))}</code>`;
  }
  if (typeof value.$param === "string") return html`<span class="slot">${visible(value.$param)}</span>`;
  if (Array.isArray(value.$join)) return value.$join.map((piece) => html`<${Value} value=${piece} />`);
  if (!Object.keys(value).length) return html`<code class="value">{}</code>`;
  return html`<${Fields} fields=${Object.entries(value)} />`;
}

/** Names with values. @param {{fields: [string, any][]}} props */
export function Fields({ fields }) {
  return html`<dl class="fields">
    ${fields.map(
      ([name, value]) => html`<div>
        <dt>${visible(name)}</dt>
        <dd><${Value} value=${value} /></dd>
      </div>`,
    )}
  </dl>`;
}

/** The value as canonical JSON: keys sorted as RFC 8785 has them. @param {any} value @returns {any} */
export function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  );
}

/** Every character of a value, for those who want to be sure. @param {{value: any, title: string}} props */
export function AsJson({ value, title }) {
  return html`<details class="as-json small">
    <summary>${title}</summary>
    <pre class="value" tabindex="0" aria-label=${title}>${visible(JSON.stringify(sorted(value), null, 2))}</pre>
  </details>`;
}
