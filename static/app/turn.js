/**
 * One turn of a conversation as it grows: the person's words, the reply's parts in order, how it ended.
 *
 * Fed by conversation.js with AG-UI events, shown by message.js. No DOM, no socket.
 */

import { signal } from "../vendor/preact.js";

/** Lengths kept a text, so that an event that overlaps what is known can be cut at the right place. */
const MARKS = 2_000;
let keys = 0;

/** A text that grows; views listen instead of being rendered again for every token. */
export class LiveText {
  text = "";
  done = false;
  /** @type {Map<number, number>} sequence number -> length of the text after it */
  #marks = new Map();
  /** @type {Set<(change: {delta?: string, whole?: boolean}) => void>} */
  #listeners = new Set();

  /** @param {string} id */
  constructor(id) {
    this.id = id;
  }

  /** @param {(change: {delta?: string, whole?: boolean}) => void} listener @returns {() => void} stops it */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @param {string} delta @param {{seq: number, first_seq?: number, known?: number}} numbers */
  append(delta, numbers) {
    const before = (numbers.first_seq ?? numbers.seq) - 1;
    if (numbers.known) {
      const length = this.#marks.get(before);
      if (length === undefined) return; // cannot be cut; the end of the run repeats the whole text
      this.text = this.text.slice(0, length);
      this.replace(this.text + delta);
    } else {
      this.#marks.set(before, this.text.length);
      this.text += delta;
      this.#listeners.forEach((listener) => listener({ delta }));
    }
    this.#marks.set(numbers.seq, this.text.length);
    if (this.#marks.size > MARKS) this.#marks.delete(this.#marks.keys().next().value ?? 0);
  }

  /** @param {string} text @param {boolean} [done] */
  replace(text, done = this.done) {
    this.text = text;
    this.done = done;
    this.#listeners.forEach((listener) => listener({ whole: true }));
  }

  end() {
    if (this.done) return;
    this.done = true;
    this.#listeners.forEach((listener) => listener({ whole: true }));
  }
}

/** @typedef {{kind: "text", key: string, segment: number, text: LiveText, covered?: boolean}} TextPart  `covered`: results or the card say the same */
/** @typedef {{kind: "plan", key: string, segment: number, id: string}} PlanPart */
/** @typedef {{kind: "results", key: string, segment: number, results: any[]}} ResultsPart */
/** @typedef {TextPart | PlanPart | ResultsPart} Part */
/** @typedef {{id: string, intent: string, args: string, state: "running" | "done"}} ToolCall */
/** @typedef {"sending" | "running" | "waiting" | "done" | "cancelled" | "error"} TurnStatus */

export class Turn {
  /** @param {string} prompt @param {string | null} runId */
  constructor(prompt, runId = null) {
    keys += 1;
    this.key = `t${keys}`;
    this.prompt = signal(prompt);
    this.runId = signal(runId);
    /** @type {import("../vendor/preact.js").Signal<Part[]>} */
    this.parts = signal([]);
    /** @type {import("../vendor/preact.js").Signal<ToolCall[]>} */
    this.calls = signal([]);
    /** @type {import("../vendor/preact.js").Signal<TurnStatus>} */
    this.status = signal(runId ? "running" : "sending");
    this.answeredBy = signal("");
    /** @type {import("../vendor/preact.js").Signal<{message: string, code: string} | null>} */
    this.error = signal(null);
    /** @type {import("../vendor/preact.js").Signal<any>} */
    this.usage = signal(null);
    this.cut = signal(false);
    this.segment = 1;
    /** Stop was pressed before the server had named the run. */
    this.stopWanted = false;
    /** The connection broke before the server answered: it may have taken the message or not. */
    this.lost = false;
    /** What is shown comes from the stored conversation, not from events. */
    this.stored = false;
    this.sentAt = Date.now();
  }

  get busy() {
    return this.status.value === "sending" || this.status.value === "running";
  }

  /** A segment begins; if it was seen before (a replay), its texts are written anew. @param {number} segment */
  begin(segment) {
    this.segment = segment;
    this.parts.value = this.parts.value.filter((part) => part.kind === "plan" || part.segment < segment);
    if (segment === 1) this.stored = false;
    if (segment === 1) this.calls.value = [];
    this.error.value = null;
    this.status.value = "running";
  }

  /** The text of a message, made if it is new. @param {string} id @param {boolean} [anew] */
  text(id, anew = false) {
    const found = this.parts.value.find((part) => part.kind === "text" && part.text.id === id);
    if (found?.kind === "text") {
      if (anew) found.text.replace("", false);
      return found.text;
    }
    const text = new LiveText(id);
    this.#add({ kind: "text", key: `m${id}`, segment: this.segment, text });
    return text;
  }

  /** @param {string} id plan */
  showPlan(id) {
    if (this.parts.value.some((part) => part.kind === "plan" && part.id === id)) return;
    this.#add({ kind: "plan", key: `p${id}`, segment: this.segment, id });
  }

  /** @param {any[] | undefined} results @param {number} [segment] */
  showResults(results, segment = this.segment) {
    const others = this.parts.value.filter((part) => part.kind !== "results" || part.segment !== segment);
    const shown = (results ?? []).filter((result) => result?.display);
    this.parts.value = shown.length
      ? [...others, { kind: "results", key: `r${segment}`, segment, results: shown }]
      : others;
  }

  /** @param {Part} part */
  #add(part) {
    this.parts.value = [...this.parts.value, part];
  }

  /** @param {any} event TOOL_CALL_… */
  tool(event) {
    const calls = this.calls.value;
    const change = (/** @type {(call: ToolCall) => ToolCall} */ make) => {
      this.calls.value = calls.map((call) => (call.id === event.toolCallId ? make(call) : call));
    };
    if (event.type === "TOOL_CALL_START") {
      const others = calls.filter((call) => call.id !== event.toolCallId);
      this.calls.value = [...others, { id: event.toolCallId, intent: event.toolCallName, args: "", state: "running" }];
    } else if (event.type === "TOOL_CALL_ARGS") change((call) => ({ ...call, args: call.args + event.delta }));
    else if (event.type === "TOOL_CALL_RESULT") change((call) => ({ ...call, state: "done" }));
  }

  /** The end of a segment repeats its whole text: put right what was missed. @param {any} event RUN_FINISHED */
  finish(event) {
    const result = event.result ?? {};
    const texts = this.parts.value.filter((part) => part.kind === "text" && part.segment === this.segment);
    const shown = texts.map((part) => (part.kind === "text" ? part.text.text : "")).join("\n\n");
    const outcome = event.outcome?.type ?? "success";
    if (result.text && bare(shown) !== bare(result.text) && outcome !== "cancelled") this.repair(result.text);
    for (const part of this.parts.value) if (part.kind === "text") part.text.end();
    if (result.results) this.showResults(result.results);
    if (!result.prose && saysAll(result.results)) this.cover();
    if (result.answered_by) this.answeredBy.value = result.answered_by;
    if (result.usage) this.usage.value = result.usage;
    this.status.value = outcome === "interrupt" ? "waiting" : outcome === "cancelled" ? "cancelled" : "done";
    this.calls.value = this.calls.value.map((call) => ({ ...call, state: "done" }));
  }

  /** The present segment's text repeats what tables or the plan's card show: keep it for copying only. */
  cover() {
    this.parts.value = this.parts.value.map((part) =>
      part.kind === "text" && part.segment === this.segment ? { ...part, covered: true } : part,
    );
  }

  /** @param {string} whole text of the present segment */
  repair(whole) {
    const [first, ...others] = this.parts.value.filter((part) => part.kind === "text" && part.segment === this.segment);
    this.parts.value = this.parts.value.filter((part) => !others.includes(part));
    if (first?.kind === "text") first.text.replace(whole, true);
    else this.text(`repaired-${this.key}-${this.segment}`).replace(whole, true);
  }

  /** @param {string} message @param {string} code */
  fail(message, code) {
    if (this.hasPlan) this.cover();
    for (const part of this.parts.value) if (part.kind === "text") part.text.end();
    this.error.value = { message, code };
    this.status.value = code === "cancelled" ? "cancelled" : "error";
  }

  get hasPlan() {
    return this.parts.value.some((part) => part.kind === "plan");
  }

  /** All text of the reply. */
  get reply() {
    return this.parts.value
      .map((part) => (part.kind === "text" ? part.text.text : ""))
      .filter(Boolean)
      .join("\n\n");
  }
}

/** Whether tables and fields show all that a text made from the same results says. @param {any[] | undefined} results */
export const saysAll = (results) =>
  !!results?.length && results.every((one) => one.display && (one.state ?? "done") === "done");

/** Without white space, for comparing. @param {string} text */
const bare = (text) => text.replace(/\s+/g, "");
