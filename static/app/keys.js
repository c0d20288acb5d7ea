/**
 * Keyboard shortcuts and the dialog that lists them.
 *
 * No single bare key changes anything. The approval chord works on simple plans alone; on others it brings the second
 * deliberate act into focus. Used by main.js.
 */

import { html, useEffect } from "../vendor/preact.js";
import { stopCurrent } from "./composer.js";
import { Dialog } from "./dialog.js";
import { busyTurn, newConversation } from "./store.js";

const KEYS = [
  ["Enter", "send the request"],
  ["Shift Enter", "new line"],
  ["↑", "in the empty field: edit the last request"],
  ["Escape", "stop what is running"],
  ["/", "go to the field"],
  ["Alt N", "new conversation"],
  ["Alt I", "what can be done"],
  ["Ctrl Shift Enter", "approve your own small, reversible plan; for any other, go to its confirmation"],
  ["?", "this list"],
];

/** The newest plan that waits in view. */
function approve() {
  const buttons = [...document.querySelectorAll("button[data-approve]")];
  const button = /** @type {HTMLButtonElement | undefined} */ (buttons.at(-1));
  if (!button) return;
  if (button.dataset.approve === "simple") button.click();
  else /** @type {HTMLElement | null} */ (button.closest(".decision")?.querySelector("[data-confirm]"))?.focus();
}

/** @param {EventTarget | null} target */
const typing = (target) => target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);

/** @param {{help: () => void, browse: () => void, focus: () => void}} actions */
export function useKeys({ help, browse, focus }) {
  useEffect(() => {
    const keyed = (/** @type {KeyboardEvent} */ event) => {
      if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
      const bare = !event.ctrlKey && !event.altKey && !event.metaKey;
      const does = () => {
        if (event.ctrlKey && event.shiftKey && event.key === "Enter") return approve;
        if (event.key === "Escape" && bare && busyTurn.peek()) return stopCurrent;
        if (event.altKey && event.code === "KeyN") return () => (newConversation(), focus());
        if (event.altKey && event.code === "KeyI") return browse;
        if (bare && !typing(event.target) && event.key === "?") return help;
        if (bare && !typing(event.target) && event.key === "/") return focus;
        if (bare && event.key === "?" && event.target instanceof HTMLTextAreaElement && !event.target.value)
          return help;
        return null;
      };
      const action = does();
      if (!action) return;
      event.preventDefault();
      action();
    };
    addEventListener("keydown", keyed);
    return () => removeEventListener("keydown", keyed);
  }, []);
}

/** @param {{close: () => void}} props */
export function KeysHelp({ close }) {
  return html`<${Dialog} title="Keys" close=${close}>
    <dl class="keys">
      ${KEYS.map(
        ([keys, what]) =>
          html`<div><dt>${keys.split(" ").map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${what}</dd></div>`,
      )}
    </dl>
  </${Dialog}>`;
}
