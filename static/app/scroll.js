/**
 * Keeps what grows in view while the reader is there, and only then: the end of the log, or the beginning of the last
 * turn once that is taller than the view; after a decision, the place where it says what happens next. Used by chat.js,
 * message.js, plan-card.js and plan-edit.js.
 */

const NEAR = 60;
const MARGIN = 20;
/** @type {HTMLElement | null} */
let log = null;
let following = true;
/** What is read from instead of the beginning of the last turn. @type {HTMLElement | null} */
let anchor = null;
let frame = 0;

/** @param {HTMLElement | null} element the scrolling log @returns {() => void} stops watching */
export function watchScroll(element) {
  log = element;
  following = true;
  anchor = null;
  element?.addEventListener("scroll", noticed, { passive: true });
  const sizes = new ResizeObserver(stickToEnd); // cards grow by themselves: output of scripts, states of steps
  if (element?.firstElementChild) sizes.observe(element.firstElementChild);
  return () => sizes.disconnect();
}

/** Where the log wants to be. @param {HTMLElement} element */
function target(element) {
  const end = element.scrollHeight - element.clientHeight;
  const turn = anchor?.isConnected ? anchor : [...element.querySelectorAll(".turn")].at(-1);
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
  anchor = null;
  stickToEnd();
}

/** The reader looks at this now, wherever the end is. @param {HTMLElement} element */
export function lookAt(element) {
  following = false;
  cancelAnimationFrame(frame);
  frame = 0;
  element.scrollIntoView({ block: "nearest" });
}

/** From now on this stays in view while things grow below it, until the reader goes elsewhere. @param {HTMLElement} element */
export function readOn(element) {
  if (!log?.contains(element)) {
    element.scrollIntoView({ block: "nearest" });
    return;
  }
  following = true;
  anchor = element;
  stickToEnd();
}
