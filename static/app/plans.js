/**
 * Plans by id: what the server last said of each, and the running output of their steps.
 *
 * Filled by store.js from events and RPC answers, shown by plan-card.js. No DOM.
 */

import { signal } from "../vendor/preact.js";

const OUTPUT_CHARS = 200_000;

/** @typedef {import("../vendor/preact.js").Signal<any>} PlanSignal */

/** @type {Map<string, PlanSignal>} */
const plans = new Map();
/** What each plan was before its digest changed, where that was seen. @type {Map<string, any>} */
const earlier = new Map();
/** Raised at every change of any plan's status, so that lists can be fetched again. */
export const planChanges = signal(0);

/** The plan of that id; its value is null until it is known. @param {string} id @returns {PlanSignal} */
export function planSignal(id) {
  let found = plans.get(id);
  if (!found) plans.set(id, (found = signal(null)));
  return found;
}

/** The plan as it was with the digest before this one, if this page has seen it. @param {string} id @returns {any} */
export const earlierPlan = (id) => earlier.get(id) ?? null;

/** Take a plan as the server has it now; output that came piecewise is kept. @param {any} plan */
export function putPlan(plan) {
  const held = planSignal(plan.plan_id);
  const old = held.value;
  if (old?.digest && plan.digest && old.digest !== plan.digest) earlier.set(plan.plan_id, old);
  const steps = plan.steps.map((/** @type {any} */ step) => {
    const before = old?.steps.find((/** @type {any} */ one) => one.id === step.id);
    return step.progress || !before?.progress ? step : { ...step, progress: before.progress };
  });
  held.value = { ...plan, steps };
  if (old?.status !== plan.status || old?.digest !== plan.digest) planChanges.value += 1;
}

/**
 * Apply a JSON Patch (add, replace, remove); paths that do not fit are ignored, the next snapshot puts it right.
 * @param {string} id @param {{op: string, path: string, value?: any}[]} patch
 */
export function patchPlan(id, patch) {
  const held = planSignal(id);
  if (!held.value) return;
  const copy = structuredClone(held.value);
  for (const operation of patch) applyOne(copy, operation);
  for (const step of copy.steps) step.progress = trimmed(step.progress);
  held.value = copy;
}

/** @param {any} document @param {{op: string, path: string, value?: any}} operation */
function applyOne(document, { op, path, value }) {
  const keys = path
    .split("/")
    .slice(1)
    .map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
  const last = keys.pop();
  let at = document;
  for (const [i, key] of keys.entries()) {
    if (!Object.hasOwn(at, key) && op === "add" && i === keys.length - 1 && last === "-") at[key] = [];
    at = Object.hasOwn(at, key) ? at[key] : undefined;
    if (at === null || typeof at !== "object") return;
  }
  if (last === undefined || last === "__proto__") return;
  if (Array.isArray(at) && last === "-") at.push(value);
  else if (op === "remove") delete at[last];
  else at[last] = value;
}

/** @param {{stream?: string, text?: string}[] | undefined} progress newest kept */
function trimmed(progress) {
  if (!progress) return progress;
  let room = OUTPUT_CHARS;
  let from = progress.length;
  while (from > 0 && room > 0) {
    from -= 1;
    room -= progress[from].text?.length ?? 0;
  }
  return from ? progress.slice(from) : progress;
}

/** Forget everything (logout). */
export function forgetPlans() {
  plans.clear();
  earlier.clear();
}
