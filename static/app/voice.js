/**
 * What the panel says beside what it shows: to screen readers, politely, and to everybody in a corner.
 *
 * Used by all components that act; shown by notices.js.
 */

import { signal } from "../vendor/preact.js";

/** @type {import("../vendor/preact.js").Signal<{id: number, text: string, level: number}[]>} */
export const toasts = signal([]);
/** Read out politely by screen readers. */
export const spoken = signal("");
let toastIds = 0;

/** @param {string} text */
export function say(text) {
  spoken.value = spoken.peek() === text ? `${text}\u00a0` : text;
}

/** @param {string} text @param {number} level 1 info, 2 success, 3 warning, 4 error */
export function toast(text, level = 1) {
  toastIds += 1;
  const id = toastIds;
  toasts.value = [...toasts.peek(), { id, text, level }].slice(-4);
  setTimeout(() => closeToast(id), level >= 3 ? 12_000 : 6_000);
}

/** @param {number} id */
export function closeToast(id) {
  toasts.value = toasts.peek().filter((one) => one.id !== id);
}

/** Show what went wrong. @param {unknown} error */
export function complain(error) {
  toast(error instanceof Error ? error.message : String(error), 4);
}
