/** Short messages in a corner, and the polite voice for screen readers. Used by main.js. */

import { html } from "../vendor/preact.js";
import { visible } from "./format.js";
import { Icon } from "./icons.js";
import { closeToast, spoken, toasts } from "./voice.js";

const LEVELS = { 1: "info", 2: "success", 3: "warning", 4: "error" };
const WORDS = { 1: "Note", 2: "Done", 3: "Warning", 4: "Error" };

export function Notices() {
  return html`<div class="toasts" role="region" aria-label="Notices" aria-live="polite">
      ${toasts.value.map(
        (one) => html`<div key=${one.id} class="toast ${LEVELS[/** @type {1} */ (one.level)] ?? "info"}">
          <p><b>${WORDS[/** @type {1} */ (one.level)] ?? "Note"}</b> ${visible(one.text)}</p>
          <button type="button" class="quiet icon-only" aria-label="Close notice" onClick=${() => closeToast(one.id)}><${Icon} name="cross" /></button>
        </div>`,
      )}
    </div>
    <p class="offscreen" role="status" aria-live="polite">${spoken.value}</p>`;
}
