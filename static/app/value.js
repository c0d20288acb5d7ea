/**
 * JSON values shown whole, as text nodes: nothing shortened, nothing interpreted, hidden characters written out.
 *
 * Used by plan-card.js for params and previews.
 */

import { html } from "../vendor/preact.js";
import { visible } from "./format.js";

/** @param {any} value */
const isReference = (value) => typeof value === "object" && value !== null && "$from" in value;

/** @param {{value: any}} props */
export function Value({ value }) {
  if (isReference(value)) {
    return html`<span class="reference">result of ${visible(String(value.$from))}</span>
      <code class="value">${visible(String(value.path ?? "@"))}</code>`;
  }
  if (typeof value === "string") {
    if (value === "") return html`<span class="muted">empty text</span>`;
    if (value.includes("\n")) return html`<pre class="value" tabindex="0">${visible(value)}</pre>`;
    return html`<code class="value">${visible(value)}</code>`;
  }
  if (value !== null && typeof value === "object") {
    if (!Array.isArray(value) && Object.keys(value).length) return html`<${Fields} fields=${Object.entries(value)} />`;
    if (Array.isArray(value) && value.every((one) => typeof one !== "object" || one === null)) {
      return html`<code class="value">${visible(JSON.stringify(value))}</code>`;
    }
    return html`<pre class="value" tabindex="0">${visible(JSON.stringify(value, null, 2))}</pre>`;
  }
  return html`<code class="value literal">${JSON.stringify(value) ?? "nothing"}</code>`;
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
