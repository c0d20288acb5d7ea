/**
 * One conversation: its turns from history and from live events, sending, stopping, and putting both together after
 * an interruption.
 *
 * Made by store.js. Knows the wire's words (contract sections 3 and 4), no DOM.
 */

import { batch, signal } from "../vendor/preact.js";
import { CHAT } from "./wire.js";
import { Turn, saysAll } from "./turn.js";

/** `run.2` -> `run` @param {string} id */
const baseRun = (id) => id.replace(/\.\d+$/, "");
/** @param {string} id */
const segmentOf = (id) => Number(/\.(\d+)$/.exec(id)?.[1] ?? 1);

/**
 * @typedef {object} World  what a conversation needs from the store
 * @property {import("./wire.js").Wire} wire
 * @property {(plan: any) => void} showPlan
 * @property {(planId: string, patch: any[]) => void} patchPlan
 * @property {(planId: string) => Promise<any>} loadPlan
 * @property {(kind: string, id: string, content: any) => void} showCard  alerts, suggestions, diagnoses
 * @property {(text: string) => void} say  to screen readers, politely
 * @property {(id: string, conversation: Conversation) => Turn[]} adopt  from now on it is the one of that id; what came before
 * @property {(conversation: Conversation) => void} changed  new title or id, or a turn ended
 */

export class Conversation {
  /** @param {string | null} id null until the server has named it @param {World} world */
  constructor(id, world) {
    this.world = world;
    this.id = signal(id);
    this.title = signal("");
    /** @type {import("../vendor/preact.js").Signal<Turn[]>} */
    this.turns = signal([]);
    /** Alerts and suggestions that came here. @type {import("../vendor/preact.js").Signal<any[]>} */
    this.cards = signal([]);
    this.loading = signal(false);
    /** @type {import("../vendor/preact.js").Signal<string>} */
    this.failure = signal("");
    this.topic = id ? CHAT + id : "";
    this.loaded = false;
    /** Events of runs that may be the one being sent: kept until the server has named it. @type {[any, boolean][]} */
    this.held = [];
  }

  /** Load history and follow the topic; safe to call again. */
  async open() {
    if (!this.id.value || this.loaded) return;
    this.loading.value = true;
    this.failure.value = "";
    try {
      await this.reconcile();
      this.loaded = true;
    } catch (error) {
      this.failure.value = /** @type {Error} */ (error).message;
    } finally {
      this.loading.value = false;
    }
  }

  /**
   * Put history and what is shown together: after opening, a reconnection or a new epoch.
   * @param {boolean} [repair] turns that look unfinished here and are finished there are taken from there
   */
  async reconcile(repair = false) {
    const id = this.id.value;
    if (!id) return;
    const { conversation } = await this.world.wire.rpc("conversation_get", { conversation_id: id });
    batch(() => {
      this.title.value = conversation.title || this.title.value;
      this.#merge(conversation.messages ?? [], repair);
    });
    if (!this.turns.value.length) await this.#findPlans(id);
    await this.world.wire.follow(this.topic);
  }

  /** A conversation without words holds plans that a program sent. @param {string} id */
  async #findPlans(id) {
    const { plans } = await this.world.wire.rpc("plan_list");
    for (const plan of plans.filter((/** @type {any} */ one) => one.conversation_id === id).reverse()) {
      this.world.showPlan(plan);
      this.include(plan);
      if (plan.topic !== this.topic) this.world.wire.follow(plan.topic).catch(() => {});
    }
  }

  /** A plan that came by another door than this chat. @param {any} plan */
  include(plan) {
    const turn = this.#turnOf(plan.run_id, plan.plan_id);
    turn.showPlan(plan.plan_id);
  }

  /** @param {any[]} messages oldest first @param {boolean} repair */
  #merge(messages, repair) {
    const fresh = new Set();
    for (const message of messages) {
      if (message.role === "user") this.#mergeUser(message);
      else this.#mergeReply(message, repair, fresh);
    }
    for (const turn of this.turns.value) {
      if (turn.lost && !turn.runId.value) {
        turn.fail("The connection was lost before the server took the message. Send it again.", "disconnected");
      }
    }
    const order = new Map(messages.map((message, i) => [message.run_id ?? message.message_id, i]));
    const rank = (/** @type {Turn} */ turn) => order.get(turn.runId.value ?? "") ?? Number.MAX_SAFE_INTEGER;
    this.turns.value = [...this.turns.value].sort((a, b) => rank(a) - rank(b));
  }

  /** @param {any} message */
  #mergeUser(message) {
    const run = message.run_id ?? message.message_id;
    const known = this.turns.value.find((turn) => turn.runId.value === run);
    const unnamed = this.turns.value.find((turn) => !turn.runId.value && turn.prompt.value === message.content);
    const turn = known ?? unnamed;
    if (turn) {
      turn.prompt.value = message.content;
      turn.runId.value = run;
      turn.lost = false;
      if (turn.status.value === "sending") turn.status.value = "running";
      return;
    }
    const made = new Turn(message.content, run);
    made.status.value = "done";
    made.stored = true;
    this.turns.value = [...this.turns.value, made];
  }

  /** @param {any} message @param {boolean} repair @param {Set<Turn>} fresh turns begun anew by this merge */
  #mergeReply(message, repair, fresh) {
    const run = message.run_id ?? message.message_id;
    let turn = this.turns.value.find((one) => one.runId.value === run);
    if (!turn) {
      turn = new Turn("", run);
      turn.stored = true;
      this.turns.value = [...this.turns.value, turn];
    }
    if (repair && turn.busy && !turn.stored) {
      turn.begin(1);
      turn.stored = true;
    }
    if (!turn.stored) return;
    if (!fresh.has(turn)) turn.parts.value = [];
    const meta = message.meta ?? {};
    turn.segment = fresh.has(turn) ? turn.segment + 1 : 1;
    fresh.add(turn);
    const error = meta.error ?? null;
    if (message.content && message.content !== error?.message) {
      turn.text(`h-${message.message_id}`).replace(message.content, true);
    }
    if (meta.plan_id) this.#showPlan(turn, meta.plan_id);
    if (meta.results) turn.showResults(meta.results);
    if (!meta.prose && (saysAll(meta.results) || (error && meta.plan_id))) turn.cover();
    if (meta.answered_by) turn.answeredBy.value = meta.answered_by;
    if (meta.usage) turn.usage.value = meta.usage;
    turn.error.value = error && { message: error.message, code: error.error };
    turn.cut.value = !!meta.incomplete;
    turn.status.value = "done";
  }

  /** @param {Turn} turn @param {string} id */
  #showPlan(turn, id) {
    turn.showPlan(id);
    this.world.loadPlan(id).catch(() => {});
  }

  /** @param {string} prompt @param {Record<string, any>} [params] */
  async send(prompt, params = {}) {
    const turn = new Turn(prompt);
    this.turns.value = [...this.turns.value, turn];
    if (!this.title.value) this.title.value = prompt.slice(0, 80);
    this.loaded = true;
    const id = this.id.value;
    try {
      const answer = await this.world.wire.rpc("chat_llm", {
        prompt,
        params: { stream: true, ...params },
        ...(id ? { conversation_id: id } : {}),
      });
      this.#accepted(turn, answer);
    } catch (error) {
      this.#refused(turn, /** @type {any} */ (error));
    }
    const held = this.held.splice(0);
    batch(() => held.forEach(([data, restarted]) => this.apply(data, restarted)));
    return turn;
  }

  /** @param {Turn} turn @param {{run_id: string, conversation_id: string, topic: string}} answer */
  #accepted(turn, answer) {
    batch(() => {
      this.name(answer.conversation_id, answer.topic);
      const early = this.turns.value.find((one) => one !== turn && one.runId.value === answer.run_id);
      if (early) {
        early.prompt.value = turn.prompt.value;
        early.stopWanted ||= turn.stopWanted;
        this.turns.value = this.turns.value.filter((one) => one !== turn);
      } else {
        turn.runId.value = answer.run_id;
        if (turn.status.value === "sending") turn.status.value = "running";
      }
      if (turn.stopWanted) this.stop(early ?? turn);
    });
  }

  /** The server has named this conversation. @param {string} id @param {string} topic */
  name(id, topic) {
    if (this.id.value === id) return;
    this.id.value = id;
    this.topic = topic || CHAT + id;
    this.turns.value = [...this.turns.value, ...this.world.adopt(id, this)];
    this.world.changed(this);
  }

  /** @param {Turn} turn @param {import("./wire.js").RpcError} error */
  #refused(turn, error) {
    if (turn.runId.value) return; // a reconnection has found it meanwhile
    if (error.code === "disconnected" || error.code === "timeout") turn.lost = true;
    else turn.fail(error.message, error.code);
  }

  /** Stop a run; also one that the server has not acknowledged yet. @param {Turn} turn */
  async stop(turn) {
    turn.stopWanted = true;
    const run = turn.runId.value;
    if (!run) return;
    try {
      await this.world.wire.rpc("run_cancel", { run_id: run });
    } catch (error) {
      const { code, message } = /** @type {any} */ (error);
      if (turn.busy && code !== "conflict") this.world.say(`Could not stop: ${message}`);
    }
  }

  /** The turn of a run, made if it is new here. @param {string | null} run @param {string} [planId] */
  #turnOf(run, planId) {
    const turns = this.turns.value;
    let turn = run ? turns.find((one) => one.runId.value === run) : undefined;
    turn ??= planId
      ? turns.find((one) => one.parts.value.some((p) => p.kind === "plan" && p.id === planId))
      : undefined;
    if (turn) return turn;
    const last = turns.at(-1);
    if (!run && !planId && last) return last;
    const made = new Turn("", run ?? planId ?? null);
    if (planId) made.status.value = "done"; // until its run says otherwise
    this.turns.value = [...turns, made];
    if (run && this.id.value && !planId) this.#learnPrompt();
    return made;
  }

  /** Another tab or a service asked: the words are in the history. */
  #learnPrompt() {
    const params = { conversation_id: this.id.value };
    this.world.wire.rpc("conversation_get", params).then(
      ({ conversation }) => {
        for (const message of conversation.messages ?? []) if (message.role === "user") this.#mergeUser(message);
      },
      () => {},
    );
  }

  /** Whether an event's run is unknown while a request waits for the name of its run. @param {string | null} run */
  #mayBeSent(run) {
    const sending = this.turns.value.some((turn) => turn.status.value === "sending" && !turn.lost);
    return sending && !!run && !this.turns.value.some((turn) => turn.runId.value === baseRun(run));
  }

  /** @param {any} data of an envelope @param {boolean} restarted what came before may be incomplete */
  apply(data, restarted) {
    if (restarted) this.reconcile(true).catch(() => {});
    const event = data.event;
    if (this.held.length || this.#mayBeSent(data.run_id)) {
      this.held.push([data, false]);
      return;
    }
    const run = data.run_id ? baseRun(data.run_id) : event.runId ? baseRun(event.runId) : null;
    if (event.type.startsWith("ACTIVITY_")) {
      this.#activity(event, run);
      return;
    }
    const turn = this.#turnOf(run);
    if (event.type.startsWith("TOOL_CALL_")) turn.tool(event);
    else this.#apply(turn, event, data);
  }

  /** @param {Turn} turn @param {any} event @param {any} data */
  #apply(turn, event, data) {
    switch (event.type) {
      case "RUN_STARTED":
        turn.lost = false;
        turn.begin(segmentOf(event.runId ?? ""));
        break;
      case "TEXT_MESSAGE_START":
        turn.text(event.messageId, true);
        break;
      case "TEXT_MESSAGE_CONTENT":
        turn.text(event.messageId).append(event.delta, data);
        break;
      case "TEXT_MESSAGE_END":
        turn.text(event.messageId).end();
        break;
      case "RUN_FINISHED":
        turn.segment = segmentOf(event.runId ?? "");
        turn.finish(event);
        if (event.result?.plan_id) this.#showPlan(turn, event.result.plan_id);
        this.#ended(turn);
        break;
      case "RUN_ERROR":
        turn.fail(event.message, event.code);
        this.#ended(turn);
        break;
      default:
    }
  }

  /** @param {Turn} turn */
  #ended(turn) {
    const words = {
      waiting: "A plan waits for approval.",
      cancelled: "Stopped.",
      error: `It failed: ${turn.error.value?.message ?? ""}`,
    };
    this.world.say(words[/** @type {keyof typeof words} */ (turn.status.value)] ?? "Reply finished.");
    this.world.changed(this);
  }

  /** @param {any} event @param {string | null} run */
  #activity(event, run) {
    if (event.type === "ACTIVITY_DELTA") {
      if (event.activityType === "llmcore.plan") this.world.patchPlan(event.messageId, event.patch);
      return;
    }
    if (event.activityType !== "llmcore.plan") {
      const card = { id: event.messageId, kind: event.activityType, content: event.content };
      this.cards.value = [...this.cards.value.filter((one) => one.id !== card.id), card].slice(-50);
      this.world.showCard(card.kind, card.id, card.content);
      return;
    }
    const plan = event.content;
    this.world.showPlan(plan);
    const turn = this.#turnOf(run ?? plan.run_id, plan.plan_id);
    turn.showPlan(plan.plan_id);
    this.#joinTurns(turn, plan.plan_id);
  }

  /** A plan that was shown before it had a run: its run's turn takes the place. @param {Turn} turn @param {string} planId */
  #joinTurns(turn, planId) {
    const before = this.turns.value.find((one) => one !== turn && one.runId.value === planId);
    if (!before) return;
    const others = this.turns.value.filter((one) => one !== turn);
    this.turns.value = others.map((one) => (one === before ? turn : one));
  }
}
