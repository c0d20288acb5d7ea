/**
 * Keeps what grows in view while the reader is there, and only then: the end of the log, or the beginning of the last
 * turn once that is taller than the view. Used by chat.js, message.js and plan-edit.js.
 */

const NEAR = 60;
const MARGIN = 20;
/** @type {HTMLElement | null} */
let log = null;
let following = true;
let frame = 0;

/** @param {HTMLElement | null} element the scrolling log @returns {() => void} stops watching */
export function watchScroll(element) {
  log = element;
  following = true;
  element?.addEventListener("scroll", noticed, { passive: true });
  const sizes = new ResizeObserver(stickToEnd); // cards grow by themselves: output of scripts, states of steps
  if (element?.firstElementChild) sizes.observe(element.firstElementChild);
  return () => sizes.disconnect();
}

/** Where the log wants to be. @param {HTMLElement} element */
function target(element) {
  const end = element.scrollHeight - element.clientHeight;
  const turn = [...element.querySelectorAll(".turn")].at(-1);
  if (!turn) return end;
  const top = turn.getBoundingClientRect().top - element.getBoundingClientRect().top + element.scrollTop;
  return Math.min(end, top - MARGIN);
}

function noticed() {
  if (log) following = Math.abs(target(log) - log.scrollTop) < NEAR;
}

/** Something grew: at the next frame go to the end, if the reader was there. */
export function stickToEnd() {
  if (!following || frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    if (log) log.scrollTop = target(log);
  });
}

/** The reader did something new (sent, opened): go to the end and stay there. */
export function goToEnd() {
  following = true;
  stickToEnd();
}

/** The reader looks at this now, wherever the end is. @param {HTMLElement} element */
export function lookAt(element) {
  following = false;
  cancelAnimationFrame(frame);
  frame = 0;
  element.scrollIntoView({ block: "nearest" });
}
