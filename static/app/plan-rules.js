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

/** Whether a plan that waits asks for an approval; with an `unknown` step it asks what became of that first. @param {any} plan */
export const asksApproval = (plan) =>
  isOpen(plan) && !plan.steps.some((/** @type {any} */ step) => step.state === "unknown");

/** Who asked for a plan or changed it is not who looks at it, where policy wants that. @param {any} plan @param {string} user */
const isExcluded = (plan, user) =>
  !!plan.approval?.excludes_requester && [plan.requester?.name, plan.edited_from?.by].includes(user);

/** @param {any} plan @param {string} user */
const hasVoted = (plan, user) => (plan.approval?.given ?? []).some((/** @type {any} */ vote) => vote.by === user);

/** @param {any} plan */
export const approvalsLeft = (plan) => (plan.approval?.needed ?? 0) - (plan.approval?.given?.length ?? 0);

/** @param {any} plan */
const denied = (plan) => plan.steps.find((/** @type {any} */ step) => step.verdict?.decision === "deny");

/** Why this person cannot approve, or "". @param {any} plan @param {{name: string, role: string}} user */
export function hindrance(plan, { name, role }) {
  const roles = plan.approval?.roles ?? [];
  if (!plan.digest) return "The plan is still being prepared.";
  if (denied(plan)) return `Policy denies step ${denied(plan).id}, so the plan cannot run.`;
  if (plan.approval?.needed === 0 && plan.requester?.name === name) return "";
  if (role === "observer") return "Your role may look, not approve. A developer or administrator can.";
  if (roles.length && !roles.includes(role))
    return `Policy wants the approval of a person with the role ${roles.join(" or ")}.`;
  if (isExcluded(plan, name)) {
    const did = plan.requester?.name === name ? "asked for" : "changed";
    return `You ${did} this plan, and policy wants somebody else to approve it.`;
  }
  const left = approvalsLeft(plan);
  if (hasVoted(plan, name) && left > 0) {
    return `You approved. ${left} more ${left === 1 ? "approval is" : "approvals are"} needed, of other people.`;
  }
  return "";
}

/** Whether an admin could stand in for people who are not there; a denial stands. @param {any} plan @param {{name: string, role: string}} user */
export function mayBreakGlass(plan, user) {
  if (user.role !== "admin" || !plan.digest || denied(plan)) return false;
  return approvalsLeft(plan) > 1 || (approvalsLeft(plan) > 0 && hindrance(plan, user) !== "");
}

/** @param {any} plan */
export const isOpen = (plan) => plan.status === "proposed" || plan.status === "waiting";
