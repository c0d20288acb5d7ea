/** Line icons, drawn for this panel; decoration only, so always hidden from screen readers. Used by all components. */

import { html } from "../vendor/preact.js";

const PATHS = {
  plus: "M8 3v10M3 8h10",
  menu: "M2.5 4h11M2.5 8h11M2.5 12h11",
  side: "M2.5 3h11v10h-11zM10 3v10",
  send: "M8 13V3M3.8 7.2 8 3l4.2 4.2",
  stop: "M4.5 4.5h7v7h-7z",
  check: "m3 8.5 3.2 3.2L13 4.8",
  cross: "m4 4 8 8M12 4l-8 8",
  edit: "M10.8 2.8l2.4 2.4L5.5 12.9l-3 .6.6-3z",
  trash: "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.6 9h5.8l.6-9",
  save: "M8 2.5v7.5M4.8 7 8 10.2 11.2 7M3 13.5h10",
  retry: "M13 8a5 5 0 1 1-1.6-3.7M13 2.5v3h-3",
  undo: "M5.5 3 2.5 6l3 3M2.5 6h6.7a3.8 3.8 0 0 1 0 7.5H6",
  dot: "M8 6.5a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3",
  ring: "M8 3.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9",
  dash: "M4 8h8",
  question: "M6 6a2 2 0 1 1 2.7 1.9c-.5.2-.7.6-.7 1.3M8 12v.1",
  warning: "M8 2.5 14.3 13.3H1.7zM8 6.5v3.2M8 11.5v.1",
  bell: "M4.2 11V7.2a3.8 3.8 0 0 1 7.6 0V11l1.2 1.3H3zM6.8 14h2.4",
  bulb: "M6 11.5h4M6.5 13.5h3M5.8 9.6a3.7 3.7 0 1 1 4.4 0v1.9H5.8z",
  shield: "M8 2.2 13 4v4c0 3-2.1 5-5 6-2.9-1-5-3-5-6V4z",
  list: "M6 4h7.5M6 8h7.5M6 12h7.5M2.6 4h.1M2.6 8h.1M2.6 12h.1",
  grid: "M2.8 2.8h4v4h-4zM9.2 2.8h4v4h-4zM2.8 9.2h4v4h-4zM9.2 9.2h4v4h-4z",
  sun: "M8 5.3a2.7 2.7 0 1 1 0 5.4 2.7 2.7 0 0 1 0-5.4M8 1.5v1.4M8 13.1v1.4M1.5 8h1.4M13.1 8h1.4M3.4 3.4l1 1M11.6 11.6l1 1M3.4 12.6l1-1M11.6 4.4l1-1",
  moon: "M13.2 9.6A5.6 5.6 0 1 1 6.4 2.8a4.6 4.6 0 0 0 6.8 6.8",
  auto: "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  keys: "M1.8 4.2h12.4v7.6H1.8zM4.2 6.6v.1M6.7 6.6v.1M9.3 6.6v.1M11.8 6.6v.1M5 9.4h6",
  leave: "M9.5 5V3h-7v10h7v-2M6.5 8h7.2M11.3 5.6 13.7 8l-2.4 2.4",
};

/** @param {{name: keyof typeof PATHS, class?: string}} props */
export function Icon({ name, class: extra = "" }) {
  return html`<svg class="icon ${extra}" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
    <path d=${PATHS[name]} />
  </svg>`;
}

/** The mark of the product: a prompt that answers. */
export function Mark() {
  return html`<svg class="mark" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
    <rect width="24" height="24" rx="6.5" />
    <path d="m6.5 8 4 4-4 4M12.5 16h5" />
  </svg>`;
}
