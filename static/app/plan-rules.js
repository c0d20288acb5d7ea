/**
 * What a plan asks of the person who decides on it. Pure; used by plan-card.js and decision.js.
 *
 * The server decides again; this only chooses how deliberate the click has to be.
 */

/** @type {Record<string, string>} */
export const EFFECTS = { read: "Read only", write: "Changes something", destructive: "Destructive" };
/** @type {Record<string, string>} */
export const STATUSES = {
  proposed: "Waits for approval",
  approved: "Approved",
  running: "Running",
  waiting: "Needs a decision",
  done: "Done",
  failed: "Failed",
  undone: "Taken back",
  rejected: "Rejected",
  expired: "Expired",
  cancelled: "Stopped",
  needs_human: "Needs a person",
};
/** @type {Record<string, string>} */
export const DECISIONS = { allow: "Allowed", ask: "Asks for approval", deny: "Denied" };
/** The same once the plan is decided. @type {Record<string, string>} */
export const DECIDED = { ...DECISIONS, ask: "Asked for approval" };

/** @param {any} plan @returns {any[]} */
export const changing = (plan) => plan.steps.filter((/** @type {any} */ step) => step.effect !== "read");

/** Everything that the plan touches, each once. @param {any} plan @returns {string[]} */
export function targets(plan) {
  return [...new Set(changing(plan).flatMap((step) => step.preview?.targets ?? []))].map(String);
}

/** How many targets; a step without a preview counts as one. @param {any} plan @returns {number} */
export function blast(plan) {
  return changing(plan).reduce((sum, step) => sum + (step.preview?.blast ?? 1), 0);
}

/** Whether there is a way back: known already, or the intent makes one when it runs. @param {any} step @param {any[]} intents */
export const isReversible = (step, intents) =>
  !!step.undo || !!intents.find((one) => one.name === step.intent)?.reversible;

/** Own words, reversible, one target, nothing untrusted: one click is enough. @param {any} plan @param {string} user @param {any[]} intents */
export function isSimple(plan, user, intents) {
  if (plan.effect === "read") return true;
  const steps = changing(plan);
  return (
    plan.effect === "write" &&
    plan.requester?.name === user &&
    !plan.origin?.tainted &&
    steps.every((step) => isReversible(step, intents)) &&
    blast(plan) <= 1
  );
}

/** Why this person cannot approve, or "". @param {any} plan @param {string} user @param {boolean} allowed */
export function hindrance(plan, user, allowed) {
  if (!plan.digest) return "The plan is still being prepared.";
  if (!allowed) return "Your role may look, not approve. A developer or administrator can.";
  const denied = plan.steps.find((/** @type {any} */ step) => step.verdict?.decision === "deny");
  if (denied) return `Policy denies step ${denied.id}, so the plan cannot run.`;
  if (plan.approval?.excludes_requester && plan.requester?.name === user) {
    return "Policy wants somebody else than the requester to approve.";
  }
  if (plan.approval?.given?.some((/** @type {any} */ vote) => vote.by === user)) {
    const left = plan.approval.needed - plan.approval.given.length;
    if (left > 0) return `You approved. ${left} more ${left === 1 ? "approval is" : "approvals are"} needed.`;
  }
  return "";
}

/** @param {any} plan */
export const isOpen = (plan) => plan.status === "proposed" || plan.status === "waiting";
