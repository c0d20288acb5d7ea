/**
 * Alerts and suggestions as cards. They come only from typed events and RPC answers; what an alert says is quoted.
 *
 * Used by rail.js and chat.js.
 */

import { html } from "../vendor/preact.js";
import { ago, plural, visible } from "./format.js";
import { Icon } from "./icons.js";
import { answerCard, cardTitle } from "./store.js";
import { complain } from "./voice.js";
import { Fields } from "./value.js";

/** @typedef {import("./store.js").Entry} Entry */

/** @param {{card: import("./store.js").Card}} props */
export function Card({ card }) {
  if (card.kind === "llmcore.suggestion") return html`<${Suggestion} card=${card} />`;
  return html`<${Alert} content=${card.content} id=${card.id} />`;
}

/** @param {{content: any, id: string}} props */
function Alert({ content, id }) {
  const { severity = "", annotations = {}, labels = {}, count = 1, state = "" } = content;
  const text = annotations.summary ?? annotations.description ?? "";
  return html`<article class="card alert ${severity === "critical" ? "critical" : ""}" data-card=${id}>
    <p class="eyebrow"><${Icon} name="bell" />Alert, ${visible(severity || "no severity")}${state === "resolved" ? ", resolved" : ""}</p>
    <h3>${visible(String(cardTitle(content)))}</h3>
    ${text && html`<p class="small">${visible(String(text))}</p>`}
    <p class="small muted">${count > 1 && `${plural(count, "time")}, last `}${content.last_at && ago(content.last_at)}
      ${labels.instance && ` on ${visible(labels.instance)}`}</p>
  </article>`;
}

/** @param {{card: import("./store.js").Card}} props */
function Suggestion({ card }) {
  const { content } = card;
  const open = (content.status ?? "open") === "open";
  const answer = (/** @type {boolean} */ yes) => () => answerCard(card, yes).catch(complain);
  return html`<article class="card suggestion" data-card=${card.id}>
    <p class="eyebrow"><${Icon} name="bulb" />Suggestion${open ? "" : `, ${content.status}`}</p>
    <h3>${visible(String(cardTitle(content)))}</h3>
    ${(content.evidence ?? []).map(
      (/** @type {any} */ one) => html`<blockquote class="small">${visible(String(one.text))}</blockquote>`,
    )}
    ${(content.steps ?? []).map(
      (/** @type {any} */ step) => html`<div class="would"><code>${visible(step.intent)}</code>
        <${Fields} fields=${Object.entries(step.params ?? {})} /></div>`,
    )}
    ${content.question && open && html`<p class="small">${visible(content.question)}</p>`}
    ${
      open &&
      html`<div class="actions">
      <button type="button" class="small" onClick=${answer(true)}>Yes, make the plan</button>
      <button type="button" class="quiet small" onClick=${answer(false)}>Dismiss</button>
    </div>`
    }
  </article>`;
}
