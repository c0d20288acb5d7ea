/**
 * One turn on the page: the person's words, the reply's parts, how it ended and what can be done next.
 *
 * Used by chat.js. Streamed text goes straight into the DOM (markdown.js), so Preact never renders for a token.
 */

import { html, useLayoutEffect, useRef } from "../vendor/preact.js";
import { copyText } from "./copy.js";
import { number, provider, visible } from "./format.js";
import { Icon } from "./icons.js";
import { MarkdownStream } from "./markdown.js";
import { PlanCard } from "./plan-card.js";
import { planSignal } from "./plans.js";
import { Results } from "./results.js";
import { stickToEnd } from "./scroll.js";
import { current } from "./store.js";
import { editAgain } from "./composer.js";

/** @typedef {import("./turn.js").Turn} Turn */

/** @param {{turn: Turn}} props */
export function Message({ turn }) {
  return html`<div class="turn" data-run=${turn.runId.value ?? ""} data-status=${turn.status.value}>
    ${
      turn.prompt.value &&
      html`<div class="said">
      <h3 class="offscreen">You</h3>
      <p>${turn.prompt.value}</p>
    </div>`
    }
    <div class="reply" aria-busy=${turn.busy}>
      <h3 class="offscreen">llmcore</h3>
      <${Calls} turn=${turn} />
      ${inOrder(turn.parts.value).map((part) => {
        if (part.kind === "text") return html`<${Text} key=${part.key} text=${part.text} />`;
        if (part.kind === "plan") return html`<${PlanCard} key=${part.key} id=${part.id} />`;
        return html`<${Results} key=${part.key} results=${part.results} />`;
      })}
      <${Ending} turn=${turn} />
    </div>
  </div>`;
}

/** Within a segment: reads that ran, words, the card to decide on, results. @param {import("./turn.js").Part[]} parts */
function inOrder(parts) {
  const place = (/** @type {import("./turn.js").Part} */ part) => {
    if (part.kind === "plan") return planSignal(part.id).value?.effect === "read" ? 0 : 2;
    return part.kind === "text" ? 1 : 3;
  };
  const shown = parts.filter((part) => part.kind !== "text" || !part.covered);
  return shown.sort((a, b) => a.segment - b.segment || place(a) - place(b));
}

/** @param {{text: import("./turn.js").LiveText}} props */
function Text({ text }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  useLayoutEffect(() => {
    const stream = new MarkdownStream(/** @type {HTMLElement} */ (box.current), stickToEnd);
    if (text.done) stream.set(text.text);
    else stream.restart(text.text);
    const quit = text.listen(({ delta }) => {
      if (delta !== undefined) stream.append(delta);
      else if (text.done) stream.set(text.text);
      else stream.restart(text.text);
    });
    return () => {
      quit();
      stream.stop();
    };
  }, [text]);
  return html`<div class="markdown" ref=${box}></div>`;
}

/** Which intents ran, with their params, while there is no card for them. @param {{turn: Turn}} props */
function Calls({ turn }) {
  if (turn.hasPlan || !turn.calls.value.length) return null;
  return html`<ul class="calls">
    ${turn.calls.value.map(
      (call) => html`<li key=${call.id}>
        <${Icon} name=${call.state === "done" ? "check" : "dot"} class=${call.state} />
        <span class="offscreen">${call.state === "done" ? "Ran" : "Running"}</span>
        <code>${visible(call.intent)}</code>
        ${call.args && call.args !== "{}" && html`<code class="muted">${visible(call.args)}</code>`}
      </li>`,
    )}
  </ul>`;
}

const ADVICE = {
  provider_error: "Try again; if it stays, run “llmcore providers test” on the server.",
  unavailable: "A component is down. “llmcore doctor” on the server says which and what to do.",
  timeout: "It took too long. Try again or ask for less.",
  rate_limited: "Wait a moment, then try again.",
  forbidden: "Ask somebody whose role allows it.",
  bad_params: "Say it with other values, or pick an example from the list of intents.",
};

/** @param {{turn: Turn}} props */
function Ending({ turn }) {
  const status = turn.status.value;
  const error = turn.error.value;
  if (turn.busy) {
    if (turn.parts.value.some((part) => part.kind === "text" && part.text.text)) return null;
    return html`<p class="thinking"><span class="pulse"></span>${turn.lost ? "Connection lost. Checking whether the server took it…" : "Working on it…"}</p>`;
  }
  const inCard = turn.parts.value.some(
    (part) => part.kind === "plan" && planSignal(part.id).value?.status === "failed",
  );
  const empty = !turn.parts.value.length && !turn.calls.value.length;
  return html`${
    error &&
    !inCard &&
    html`<div class="banner error" role="group" aria-label="Error">
      <${Icon} name="warning" />
      <span><b>${visible(error.message)}</b>${" "}${ADVICE[/** @type {keyof typeof ADVICE} */ (error.code)] ?? ""}</span>
    </div>`
  }
    ${status === "cancelled" && html`<p class="note"><${Icon} name="stop" />${turn.stopWanted ? "Stopped." : "It was stopped before its end."}</p>`}
    ${status === "done" && empty && html`<p class="note">No answer was recorded.</p>`}
    ${turn.cut.value && html`<p class="note"><${Icon} name="warning" />This answer is incomplete: the stream broke off.</p>`}
    <${Foot} turn=${turn} />`;
}

/** @param {{turn: Turn}} props */
function Foot({ turn }) {
  const usage = turn.usage.value;
  const tokens = usage && usage.input_tokens + usage.output_tokens > 0;
  const again = () => current.peek().send(turn.prompt.peek());
  const copy = (/** @type {any} */ event) => copyText(turn.reply, event.currentTarget.querySelector("span"));
  return html`<div class="foot">
    ${turn.answeredBy.value && html`<span class="badge ${turn.answeredBy.value === "local" ? "local" : ""}">${visible(provider(turn.answeredBy.value))}</span>`}
    ${tokens && html`<span class="muted small">${number(usage.input_tokens)} in, ${number(usage.output_tokens)} out</span>`}
    <span class="grow"></span>
    ${turn.reply && html`<button type="button" class="quiet small" onClick=${copy}><span>Copy</span></button>`}
    ${turn.prompt.value && html`<button type="button" class="quiet small" onClick=${() => editAgain(turn.prompt.peek())}>Edit and resend</button>`}
    ${turn.prompt.value && html`<button type="button" class="quiet small" onClick=${again}>Retry</button>`}
  </div>`;
}
