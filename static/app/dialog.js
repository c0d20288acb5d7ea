/** Modal dialogs on the browser's own element: focus stays inside, Escape closes. Used by several components. */

import { html, signal, useEffect, useRef } from "../vendor/preact.js";
import { Icon } from "./icons.js";

/** @type {import("../vendor/preact.js").Signal<{title: string, text: string, action: string, resolve: (sure: boolean) => void} | null>} */
const question = signal(null);

/** Ask before something that cannot be taken back. @param {string} title @param {string} text @param {string} action @returns {Promise<boolean>} */
export function confirmDialog(title, text, action) {
  return new Promise((resolve) => {
    question.value = { title, text, action, resolve };
  });
}

/** @param {{title: string, close: () => void, wide?: boolean, children: any}} props */
export function Dialog({ title, close, wide = false, children }) {
  const box = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    box.current?.showModal();
  }, []);
  const outside = (/** @type {MouseEvent} */ event) => {
    if (event.target === box.current) close();
  };
  return html`<dialog ref=${box} class=${wide ? "wide" : ""} aria-labelledby="dialog-title" onClose=${close} onClick=${outside}>
    <div class="dialog">
      <header>
        <h2 id="dialog-title">${title}</h2>
        <button type="button" class="quiet icon-only" aria-label="Close" onClick=${close}><${Icon} name="cross" /></button>
      </header>
      ${children}
    </div>
  </dialog>`;
}

export function Question() {
  const asked = question.value;
  if (!asked) return null;
  const answer = (/** @type {boolean} */ sure) => {
    question.value = null;
    asked.resolve(sure);
  };
  return html`<${Dialog} title=${asked.title} close=${() => answer(false)}>
    <p>${asked.text}</p>
    <div class="actions end">
      <button type="button" onClick=${() => answer(false)}>Keep</button>
      <button type="button" class="danger" onClick=${() => answer(true)}>${asked.action}</button>
    </div>
  </${Dialog}>`;
}
