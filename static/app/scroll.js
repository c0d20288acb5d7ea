/** Keeps the end of a growing log in view while the reader is there, and only then. Used by chat.js and message.js. */

const NEAR = 60;
/** @type {HTMLElement | null} */
let log = null;
let following = true;
let frame = 0;

/** @param {HTMLElement | null} element the scrolling log */
export function watchScroll(element) {
  log = element;
  following = true;
  element?.addEventListener("scroll", noticed, { passive: true });
}

function noticed() {
  if (log) following = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
}

/** Something grew: at the next frame go to the end, if the reader was there. */
export function stickToEnd() {
  if (!following || frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    if (log) log.scrollTop = log.scrollHeight;
  });
}

/** The reader did something new (sent, opened): go to the end and stay there. */
export function goToEnd() {
  following = true;
  stickToEnd();
}
