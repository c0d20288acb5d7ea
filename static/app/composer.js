/**
 * Where requests are typed: Enter sends, Shift+Enter makes a new line, Up in an empty field brings the last one back.
 *
 * Used by chat.js. The stop button stands here from the moment something is sent. A new conversation puts the cursor
 * here, save where that would raise a keyboard on the screen.
 */

import { effect, html, signal, useLayoutEffect, useRef } from "../vendor/preact.js";
import { Icon } from "./icons.js";
import { goToEnd } from "./scroll.js";
import { busyTurn, connection, current, send } from "./store.js";

export const draft = signal("");
const editing = signal(false);
const wanted = signal(0);

/** Put a text into the field and the cursor behind it. @param {string} text */
export function compose(text) {
  draft.value = text;
  editing.value = false;
  wanted.value += 1;
}

/** @param {string} text of an earlier request */
export function editAgain(text) {
  compose(text);
  editing.value = true;
}

let shown = /** @type {any} */ (null);
effect(() => {
  if (current.value === shown) return;
  shown = current.value;
  editing.value = false;
});

/** @param {HTMLTextAreaElement} field */
function fit(field) {
  field.style.height = "auto";
  field.style.height = `${Math.min(field.scrollHeight, 220)}px`;
}

function submit() {
  const text = draft.peek().trim();
  if (!text || connection.peek() !== "online") return;
  draft.value = "";
  editing.value = false;
  goToEnd();
  send(text);
}

/** @param {KeyboardEvent} event */
function keyed(event) {
  if (event.isComposing) return;
  const plain = !event.shiftKey && !event.ctrlKey && !event.altKey && !event.metaKey;
  if (event.key === "Enter" && plain) {
    event.preventDefault();
    submit();
  } else if (event.key === "ArrowUp" && plain && !draft.peek()) {
    const last = current
      .peek()
      .turns.peek()
      .findLast((turn) => turn.prompt.peek());
    if (last) {
      event.preventDefault();
      editAgain(last.prompt.peek());
    }
  } else if (event.key === "Escape" && editing.peek()) {
    event.stopPropagation();
    compose("");
  }
}

export function stopCurrent() {
  const turn = busyTurn.peek();
  if (turn) current.peek().stop(turn);
}

export function Composer() {
  const field = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  useLayoutEffect(() => {
    if (field.current) fit(field.current);
  }, [draft.value]);
  useLayoutEffect(() => {
    if (!wanted.value || !field.current) return;
    field.current.focus();
    field.current.setSelectionRange(draft.peek().length, draft.peek().length);
  }, [wanted.value]);
  useLayoutEffect(() => {
    if (!current.peek().id.peek() && matchMedia("(hover: hover)").matches) field.current?.focus();
  }, [current.value]);
  const online = connection.value === "online";
  const onSubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    submit();
  };
  return html`<form class="composer" onSubmit=${onSubmit}>
    ${editing.value && html`<p class="editing small muted">Editing an earlier request. Enter sends it as a new one, Escape drops it.</p>`}
    <div class="field">
      <textarea
        id="prompt"
        ref=${field}
        rows="1"
        aria-label="Your request"
        placeholder="Ask, or say what to do"
        value=${draft.value}
        onInput=${(/** @type {any} */ e) => (draft.value = e.currentTarget.value)}
        onKeyDown=${keyed}
      />
      ${
        busyTurn.value
          ? html`<button type="button" class="stop" onClick=${stopCurrent}><${Icon} name="stop" />Stop</button>`
          : html`<button type="submit" class="primary" disabled=${!online || !draft.value.trim()} aria-label="Send"><${Icon} name="send" /></button>`
      }
    </div>
    <p class="hint small muted">
      <span><kbd>Enter</kbd> sends</span><span><kbd>Shift</kbd> <kbd>Enter</kbd> new line</span><span><kbd>↑</kbd> edits the last</span><span><kbd>?</kbd> all keys</span>
    </p>
  </form>`;
}
