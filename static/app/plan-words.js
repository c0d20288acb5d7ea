/**
 * The rules of a step in words: when it runs, after what, what a failure does, how a plan's branches go. Pure.
 *
 * Used by plan-step.js, plan-graph.js and templates.js. A condition is told in words only where every part of it is
 * understood; as written it is shown always.
 */

import { heading, number, plural } from "./format.js";

/** @type {Record<string, string>} */
const COMPARED = {
  "==": "is",
  "!=": "is not",
  "<": "is below",
  "<=": "is at most",
  ">": "is above",
  ">=": "is at least",
  in: "is one of",
  "&&": "and",
  "||": "or",
  "!": "not",
  "(": "(",
  ")": ")",
};
const STATES = { done: "done", failed: "failed", skipped: "skipped", pending: "pending", undone: "taken back" };
const TOKEN =
  /\s*(?:(steps(?:\.\w+|\[(?:"[^"]*"|'[^']*'|\d+)\])+)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(-?\d+(?:\.\d+)?|\btrue\b|\bfalse\b|\bnull\b)|(==|!=|<=|>=|<|>|&&|\|\||!|\(|\)|\bin\b)|(\[[^\]]*\]))/y;

/** A CEL condition in words, or "" where it is more than comparisons. @param {string} when @returns {string} */
export function whenInWords(when) {
  const words = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < when.trimEnd().length) {
    const found = TOKEN.exec(when);
    if (!found) return "";
    const [, path, text, literal, operator, list] = found;
    const word = path ? pathInWords(path) : (COMPARED[operator] ?? text ?? literal ?? list);
    if (!word) return "";
    words.push(word);
  }
  return words
    .join(" ")
    .replaceAll("( ", "(")
    .replaceAll(" )", ")")
    .replace(/(is|is not) ["'](\w+)["']/g, isState);
}

/** @param {string} whole @param {string} is @param {string} word */
const isState = (whole, is, word) => {
  const state = STATES[/** @type {keyof typeof STATES} */ (word)];
  return state ? `${is} ${state}` : whole;
};

/** `steps.s1.result.free_percent` -> `free % of the result of s1` @param {string} path @returns {string} */
function pathInWords(path) {
  const [, step, kind, ...names] = path.replace(/\[["']?([^"'\]]*)["']?\]/g, ".$1").split(".");
  if (kind === "state" && !names.length) return step;
  if (kind !== "result") return "";
  const inner = names.reverse().map((name) => (/^\d+$/.test(name) ? `entry ${name}` : heading(name)));
  return [...inner, `the result of ${step}`].join(" of ");
}

/** Which earlier steps a step waits for: needs, references and its condition. @param {any} step @returns {string[]} */
export function sourcesOf(step) {
  const found = new Set(step.needs ?? []);
  const walk = (/** @type {any} */ value) => {
    if (typeof value !== "object" || value === null) return;
    if (typeof value.$from === "string") found.add(value.$from);
    Object.values(value).forEach(walk);
  };
  walk(step.params);
  for (const [, dotted, quoted] of (step.when ?? "").matchAll(/steps(?:\.(\w+)|\[["'](\w+)["']\])/g)) {
    found.add(dotted ?? quoted);
  }
  return [...found];
}

/**
 * Steps that may run at the same time, wave after wave: each stands one below the last that it waits for.
 * @param {any[]} steps @returns {any[][]}
 */
export function wavesOf(steps) {
  /** @type {Map<string, number>} */
  const depths = new Map();
  const byId = new Map(steps.map((step) => [step.id, step]));
  const depth = (/** @type {any} */ step, /** @type {string[]} */ path) => {
    const known = depths.get(step.id);
    if (known !== undefined) return known;
    const before = sourcesOf(step).filter((id) => byId.has(id) && !path.includes(id));
    const found = before.reduce((deepest, id) => Math.max(deepest, depth(byId.get(id), [...path, step.id]) + 1), 0);
    depths.set(step.id, found);
    return found;
  };
  /** @type {any[][]} */
  const waves = [];
  for (const step of steps) (waves[depth(step, [])] ??= []).push(step);
  return waves;
}

/** Order of a plan as a sentence. @param {any[][]} waves */
export const orderInWords = (waves) =>
  waves
    .map((wave) => wave.map((step) => step.id).join(" and ") + (wave.length > 1 ? " at the same time" : ""))
    .join(", then ");

/** @type {Record<string, string>} */
const AFTER_FAILURE = {
  stop: "if it fails, the plan stops",
  continue: "if it fails, the plan goes on",
  undo: "if it fails, everything done before is taken back",
};

/** What a failure does, how often it is tried, how long it may take. @param {any} step @returns {string[]} */
export function rulesInWords(step) {
  return [
    AFTER_FAILURE[step.on_error ?? "stop"] ?? step.on_error,
    step.retries > 0 ? `tried again up to ${plural(step.retries, "time")}` : "tried once",
    `given up after ${number(step.timeout_s ?? 60)} s`,
  ];
}
