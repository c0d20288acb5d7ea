/**
 * How long a plan still waits: a clock for the eye every second, for screen readers a word at ten minutes, one minute
 * and the end.
 *
 * Used by plan-card.js.
 */

import { html, useEffect, useState } from "../vendor/preact.js";
import { left, localTime } from "./format.js";
import { say } from "./voice.js";

/** Milliseconds before the end at which it is said aloud, and the words. @type {[number, string][]} */
const SPOKEN = [
  [0, "The plan has expired."],
  [60_000, "The plan expires in one minute."],
  [600_000, "The plan expires in ten minutes."],
];

/** The last of these moments that has passed. @param {number} rest ms */
const moment = (rest) => SPOKEN.find(([before]) => rest <= before)?.[0] ?? Infinity;

/** @param {{at: string, words?: string, late?: string}} props */
export function Expiry({ at, words = "expires in", late = "expired" }) {
  const end = Date.parse(at);
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    let said = moment(end - Date.now());
    const timer = setInterval(() => {
      const rest = end - Date.now();
      if (moment(rest) < said) {
        said = moment(rest);
        say(SPOKEN.find(([before]) => before === said)?.[1] ?? "");
      }
      setNow(Date.now());
    }, 1_000);
    return () => clearInterval(timer);
  }, [at]);
  const rest = end - now;
  return html`<span class="expiry" title=${at}>
    <span aria-hidden="true">${rest > 0 ? `${words} ${left(rest)}` : late}</span>
    <span class="offscreen">${rest > 0 ? `${words.replace(/ in$/, "")} at ${localTime(at)}` : late}</span>
  </span>`;
}
