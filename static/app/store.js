/**
 * What the panel knows: connection, conversations, cards, notices; and the calls that change it.
 *
 * Used by all components. Knows the wire's words, no DOM but the address bar.
 */

import { batch, computed, effect, signal } from "../vendor/preact.js";
import { session } from "./auth.js";
import { Conversation } from "./conversation.js";
import { connection, hooks, rpc, wire } from "./link.js";
import { forgetPlans, patchPlan, planChanges, planSignal, putPlan } from "./plans.js";
import { pushStats, resetStats } from "./stats-data.js";
import { complain, say, toast, toasts } from "./voice.js";

export { connection, rpc };

/** @template T @typedef {import("../vendor/preact.js").Signal<T>} Signal */
/** @typedef {{conversation_id: string, title: string, updated_at: string}} Entry */
/** @typedef {{id: string, kind: string, content: any}} Card */
/** @typedef {"chat" | "plans" | "templates" | "rules" | "audit"} View */
/** @type {View[]} */
const VIEWS = ["plans", "templates", "rules", "audit"];

/** @type {Signal<Entry[]>} */
export const entries = signal([]);
/** @type {Signal<Conversation>} */
export const current = signal(/** @type {any} */ (null));
/** A plan shown alone, opened from the list of waiting ones. @type {Signal<string | null>} */
export const openPlan = signal(null);
/** What the middle of the page shows. @type {Signal<View>} */
export const view = signal(/** @type {View} */ ("chat"));
/** @type {Signal<Card[]>} */
export const cards = signal([]);
/** @type {Signal<any[]>} */
export const waitingPlans = signal([]);
/** @type {Signal<any>} */
export const serverStatus = signal(null);
/** @type {Signal<any[]>} */
export const intents = signal([]);
export const busyTurn = computed(() => current.value?.turns.value.findLast((turn) => turn.busy) ?? null);
/** Whether the person may approve plans; the server decides again. */
export const mayApprove = computed(() => (serverStatus.value?.user?.role ?? "admin") !== "observer");
/** Who is logged in, as the server said last; until then as somebody who may do everything. */
export const person = computed(() => ({
  name: session.value?.user ?? "",
  role: serverStatus.value?.user?.role ?? "admin",
}));
/** Who ordered that nothing starts, while that holds. */
export const hold = computed(() => serverStatus.value?.hold ?? null);
export const isAdmin = computed(() => serverStatus.value?.user?.role === "admin");

/** How often a page that is looked at asks for plans of other people that wait. */
const WAITING_MS = 10_000;
/** @type {Map<string, Conversation>} by id */
const conversations = new Map();
let namedPlan = "";
let polling = 0;
let knowsWaiting = false;

const world = {
  wire,
  showPlan: putPlan,
  patchPlan,
  loadPlan,
  showCard,
  say,
  adopt(/** @type {string} */ id, /** @type {Conversation} */ conversation) {
    const before = conversations.get(id);
    conversations.set(id, conversation);
    return before && before !== conversation ? before.turns.value : [];
  },
  changed(/** @type {Conversation} */ conversation) {
    if (conversation === current.peek()) remember(conversation.id.value);
    loadEntries();
  },
};

/** @param {string} topic @param {any} data */
function conversationOf(topic, data) {
  const id = data.conversation_id ?? topic.split("/").at(-1);
  const known = conversations.get(id);
  if (known) return known;
  const found = new Conversation(id, world);
  conversations.set(id, found);
  return found;
}

Object.assign(hooks, {
  connected,
  chat(/** @type {string} */ topic, /** @type {any} */ data, /** @type {boolean} */ restarted) {
    batch(() => conversationOf(topic, data).apply(data, restarted));
  },
  other: received,
});

/** Connect as whoever is logged in. */
export function start() {
  if (!openNamed()) newConversation();
  addEventListener("hashchange", openNamed);
  wire.subscribe("/stats");
  wire.subscribe("/notification");
  wire.start();
  polling = setInterval(() => document.visibilityState === "visible" && loadWaiting(), WAITING_MS);
}

/** Open the conversation or view that the address bar names; false if it names no conversation. */
function openNamed() {
  const named = new URLSearchParams(location.hash.slice(1));
  const id = named.get("c");
  if (id && (id !== current.peek()?.id.value || view.peek() !== "chat")) openConversation(id);
  namedPlan = named.get("p") ?? "";
  if (namedPlan && wire.online) openNamedPlan();
  const shown = VIEWS.find((one) => one === named.get("v"));
  if (shown) {
    if (!current.peek()) newConversation();
    showView(shown);
  }
  return !!id || !!shown;
}

/** A plan that is named in the address bar is shown once the server can be asked. */
function openNamedPlan() {
  const id = namedPlan;
  namedPlan = "";
  if (id && id !== openPlan.peek())
    planCall("plan_get", { plan_id: id }).then(({ plan }) => showPlanAlone(plan), complain);
}

/** Show another view than the chat. @param {View} name */
export function showView(name) {
  batch(() => {
    openPlan.value = null;
    view.value = name;
  });
  address(name === "chat" ? "" : `v=${name}`);
}

/** Disconnect and forget everything. */
export function stop() {
  removeEventListener("hashchange", openNamed);
  wire.stop();
  clearInterval(polling);
  knowsWaiting = false;
  conversations.clear();
  forgetPlans();
  resetStats();
  batch(() => {
    entries.value = [];
    cards.value = [];
    waitingPlans.value = [];
    serverStatus.value = null;
    intents.value = [];
    toasts.value = [];
    openPlan.value = null;
    view.value = "chat";
  });
}

function connected() {
  loadEntries();
  loadStatus();
  loadWaiting();
  loadCards();
  rpc("intents_list").then(
    (data) => {
      intents.value = data.intents;
    },
    () => {},
  );
  openNamedPlan();
  const shown = current.peek();
  if (shown && !shown.loaded) shown.open();
  for (const conversation of conversations.values()) {
    if (conversation.loaded) conversation.reconcile(true).catch(() => {});
  }
  if (shown && !shown.id.value) adoptLost(shown);
}

/** A first message whose answer was lost: find out whether the server took it. @param {Conversation} conversation */
async function adoptLost(conversation) {
  const turn = conversation.turns.value.find((one) => one.lost);
  if (!turn) return;
  const { conversations: list } = await rpc("conversation_list");
  const newest = list.find((/** @type {any} */ one) => Date.parse(one.created_at) >= turn.sentAt - 2_000);
  const first = newest && (await rpc("conversation_get", { conversation_id: newest.conversation_id })).conversation;
  if (first?.messages?.[0]?.content === turn.prompt.value) {
    conversation.name(newest.conversation_id, "");
    await conversation.reconcile();
  } else turn.fail("The connection was lost before the server took the message. Send it again.", "disconnected");
}

/** @param {any} event of a topic outside chats */
function received(event) {
  if (event.topic === "/stats") pushStats(event.data, event.timestamp);
  if (event.name === "text_notification" || event.name === "text_data_notification") {
    toast(event.data?.message ?? String(event.data), event.data?.code ?? 1);
    loadWaiting();
    loadCards();
    loadStatus();
  }
}

// --- conversations ---

export async function loadEntries() {
  if (!wire.online) return;
  const data = await rpc("conversation_list").catch(() => null);
  if (data) entries.value = data.conversations;
}

/** @param {string | null} id kept in the address bar, so that a reload shows the same conversation */
function remember(id) {
  if (view.peek() === "chat") address(id ? `c=${encodeURIComponent(id)}` : "");
}

/** @param {string} hash */
function address(hash) {
  const url = new URL(location.href);
  url.hash = hash;
  history.replaceState(null, "", url);
}

export function newConversation() {
  openPlan.value = null;
  view.value = "chat";
  current.value = new Conversation(null, world);
  remember(null);
}

/** @param {string} id */
export function openConversation(id) {
  let found = conversations.get(id);
  if (!found) conversations.set(id, (found = new Conversation(id, world)));
  found.title.value ||= entries.peek().find((entry) => entry.conversation_id === id)?.title ?? "";
  openPlan.value = null;
  view.value = "chat";
  current.value = found;
  remember(id);
  if (wire.online) found.open();
}

/** @param {string} id @param {string} title */
export async function renameConversation(id, title) {
  await rpc("conversation_rename", { conversation_id: id, title });
  const known = conversations.get(id);
  if (known) known.title.value = title;
  await loadEntries();
}

/** @param {string} id */
export async function deleteConversation(id) {
  await rpc("conversation_delete", { conversation_id: id });
  conversations.delete(id);
  if (current.peek().id.value === id) newConversation();
  await loadEntries();
}

/** @param {string} id @returns {Promise<any>} */
export async function exportConversation(id) {
  const data = await rpc("conversation_export", { conversation_id: id });
  return data.conversation ?? data;
}

/** @param {string} prompt */
export function send(prompt) {
  openPlan.value = null;
  view.value = "chat";
  return current.peek().send(prompt);
}

// --- plans ---

/** @param {string} id */
async function loadPlan(id) {
  if (planSignal(id).peek()) return planSignal(id).peek();
  const { plan } = await rpc("plan_get", { plan_id: id });
  putPlan(plan);
  return plan;
}

/** Show a plan, in its conversation or alone, and follow what becomes of it. @param {any} plan */
export function showPlanAlone(plan) {
  putPlan(plan);
  if (plan.topic) wire.follow(plan.topic).catch(() => {});
  const own = entries.peek().some((entry) => entry.conversation_id === plan.conversation_id);
  if (own) {
    openConversation(plan.conversation_id);
    current
      .peek()
      .open()
      .then(() => current.peek().include(plan));
  } else {
    view.value = "chat";
    openPlan.value = plan.plan_id;
    address(`p=${encodeURIComponent(plan.plan_id)}`);
  }
}

/** Show a plan that was made from one in view: below it in the chat, else alone. @param {any} plan */
export function showPlanHere(plan) {
  if (openPlan.peek() || view.peek() !== "chat" || current.peek().id.peek() !== plan.conversation_id) {
    showPlanAlone(plan);
    return;
  }
  putPlan(plan);
  current.peek().include(plan);
  if (plan.topic) wire.follow(plan.topic).catch(() => {});
}

/** Ask for the plans that wait; of new ones that others asked for a word is said. */
export async function loadWaiting() {
  if (!wire.online) return;
  const lists = ["waiting", "proposed"].map((status) => rpc("plan_list", { status }));
  const data = await Promise.all(lists).catch(() => null);
  if (!data) return;
  const before = new Set(waitingPlans.peek().map((plan) => plan.plan_id));
  const plans = data.flatMap((one) => one.plans);
  const strange = plans.filter((one) => !before.has(one.plan_id) && one.requester?.name !== person.peek().name);
  if (knowsWaiting && strange.length) say(`${strange[0].title} waits for a decision.`);
  knowsWaiting = true;
  waitingPlans.value = plans.sort((a, b) => b.created_at.localeCompare(a.created_at));
}

/** An answer that carries a plan shows it. @param {string} intent @param {Record<string, any>} params */
export async function planCall(intent, params) {
  const data = await rpc(intent, params);
  if (data?.plan) putPlan(data.plan);
  loadWaiting();
  return data;
}

// --- cards, notices ---

/** Over: nobody has to look at it any more. @param {any} content */
const isOver = (content) => content.state === "resolved" || !["open", undefined].includes(content.status);

/** @param {string} kind @param {string} id @param {any} content @param {boolean} [quietly] */
function showCard(kind, id, content, quietly = false) {
  const others = cards.value.filter((card) => card.id !== id);
  const known = others.length < cards.value.length;
  const fresh = isOver(content) ? others : [{ id, kind, content }, ...others];
  cards.value = fresh.slice(0, 50);
  if (!quietly && !known && !isOver(content)) {
    say(`${kind === "llmcore.alert" ? "Alert" : "Suggestion"}: ${cardTitle(content)}`);
  }
}

/** @param {any} content */
export function cardTitle(content) {
  return content.title ?? content.labels?.alertname ?? "without a name";
}

async function loadCards() {
  const [alerts, suggestions] = await Promise.all([
    rpc("alert_list").catch(() => ({ alerts: [] })),
    rpc("suggestion_list").catch(() => ({ suggestions: [] })),
  ]);
  const oldestFirst = (/** @type {any[]} */ list) => [...list].reverse();
  for (const one of oldestFirst(alerts.alerts)) showCard("llmcore.alert", one.fingerprint, one, true);
  for (const one of oldestFirst(suggestions.suggestions)) showCard("llmcore.suggestion", one.id, one, true);
}

/** @param {Card} card @param {boolean} accept */
export async function answerCard(card, accept) {
  const data = await rpc(accept ? "suggestion_accept" : "suggestion_dismiss", { suggestion_id: card.id });
  cards.value = cards.value.filter((one) => one.id !== card.id);
  if (!data.plan) return;
  await loadEntries();
  showPlanAlone(data.plan);
}

export async function loadStatus() {
  serverStatus.value = await rpc("status").catch(() => serverStatus.peek());
}

effect(() => {
  if (planChanges.value) loadWaiting();
});
