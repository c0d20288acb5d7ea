/** Everything that can be asked for, with examples that go into the composer. Used by main.js. */

import { html, useState } from "../vendor/preact.js";
import { compose } from "./composer.js";
import { Dialog } from "./dialog.js";
import { EFFECTS } from "./plan-rules.js";
import { intents } from "./store.js";

/** @param {any} example a text, `[text, params]` or `{text, params}` */
const textOf = (example) => (typeof example === "string" ? example : (example.text ?? example[0]));

/** @param {{close: () => void}} props */
export function IntentsBrowser({ close }) {
  const [filter, setFilter] = useState("");
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const found = intents.value.filter((intent) => {
    const text = [intent.name, intent.description, ...(intent.examples ?? []).map(textOf)].join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const use = (/** @type {string} */ text) => {
    close();
    compose(text);
  };
  return html`<${Dialog} title="What can be done" close=${close} wide>
    <input type="search" aria-label="Find an intent" placeholder="Find: memory, file, restart …" value=${filter}
      onInput=${(/** @type {any} */ e) => setFilter(e.currentTarget.value)} />
    <p class="small muted" role="status">${found.length} of ${intents.value.length}. Click an example to put it into the field; nothing is sent yet.</p>
    <ul class="intents">
      ${found.map(
        (intent) => html`<li key=${intent.name}>
          <h3><code>${intent.name}</code><span class="chip effect ${intent.effect}">${EFFECTS[intent.effect]}</span></h3>
          <p class="small">${intent.description}</p>
          <ul class="examples">
            ${(intent.examples ?? []).slice(0, 4).map((/** @type {any} */ example) => html`<li><button type="button" class="small" onClick=${() => use(textOf(example))}>${textOf(example)}</button></li>`)}
          </ul>
        </li>`,
      )}
    </ul>
  </${Dialog}>`;
}
