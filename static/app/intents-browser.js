/** Everything that can be asked for, with examples that go into the composer. Used by main.js. */

import { html, useState } from "../vendor/preact.js";
import { compose } from "./composer.js";
import { Dialog } from "./dialog.js";
import { EFFECTS } from "./plan-rules.js";
import { intents } from "./store.js";

/** @param {any} example a text, `[text, params]` or `{text, params}` */
const textOf = (example) => (typeof example === "string" ? example : (example.text ?? example[0]));

/** @param {string} text @param {string[]} words */
const hasAll = (text, words) => words.every((word) => text.toLowerCase().includes(word));

/** Found by name before description before examples; 0: not at all. @param {any} intent @param {string[]} words */
function rank(intent, words) {
  if (hasAll(intent.name, words)) return 3;
  if (hasAll(`${intent.name} ${intent.description}`, words)) return 2;
  const examples = (intent.examples ?? []).map(textOf).join(" ");
  return hasAll(`${intent.name} ${intent.description} ${examples}`, words) ? 1 : 0;
}

/** Those that hold the words first. @param {any} intent @param {string[]} words @returns {string[]} */
function examplesOf(intent, words) {
  /** @type {string[]} */
  const texts = (intent.examples ?? []).map(textOf);
  return [...texts.filter((one) => hasAll(one, words)), ...texts.filter((one) => !hasAll(one, words))].slice(0, 4);
}

/** @param {{close: () => void}} props */
export function IntentsBrowser({ close }) {
  const [filter, setFilter] = useState("");
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const found = intents.value
    .map((intent) => ({ intent, rank: rank(intent, words) }))
    .filter((one) => one.rank > 0)
    .sort((a, b) => b.rank - a.rank)
    .map((one) => one.intent);
  const use = (/** @type {string} */ text) => {
    close();
    compose(text);
  };
  return html`<${Dialog} title="What can be done" close=${close} wide>
    <input type="search" autofocus aria-label="Find an intent" placeholder="Find: memory, file, restart …" value=${filter}
      onInput=${(/** @type {any} */ e) => setFilter(e.currentTarget.value)} />
    <p class="small muted" role="status">${found.length} of ${intents.value.length}. Click an example to put it into the field; nothing is sent yet.</p>
    <ul class="intents">
      ${found.map(
        (intent) => html`<li key=${intent.name}>
          <h3><code>${intent.name}</code><span class="chip effect ${intent.effect}">${EFFECTS[intent.effect]}</span></h3>
          <p class="small">${intent.description}</p>
          <ul class="examples">
            ${examplesOf(intent, words).map((text) => html`<li><button type="button" class="small" onClick=${() => use(text)}>${text}</button></li>`)}
          </ul>
        </li>`,
      )}
    </ul>
  </${Dialog}>`;
}
