/**
 * The WebSocket: RPC with answers by `requestid`, numbered chat topics without loss or doubling, plain topics,
 * reconnection with back-off.
 *
 * Used by main.js and store.js. Knows frames, not what they mean.
 */

import { Cursor } from "./cursor.js";

export const CHAT = "/ui/updates/llm/";
const RPC_TIMEOUT_MS = 20_000;
const QUIET_MS = 25_000;
const BACKOFF_MS = [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000];

/** An RPC that did not work; the message is a sentence for the person. */
export class RpcError extends Error {
  /** @param {string} message @param {string} code @param {Record<string, any>} [data] */
  constructor(message, code, data = {}) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

/**
 * @typedef {object} Hooks
 * @property {() => string} address  URL of the socket with the token
 * @property {(state: "connecting" | "online" | "offline") => void} state
 * @property {(topic: string, data: any, restarted: boolean) => void} chat  one new event of a chat topic
 * @property {(event: any) => void} other  an event of any other topic
 * @property {() => Promise<boolean>} refused  the upgrade failed: renew the token; false: give up
 */

export class Wire {
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Map<string, {resolve: (data: any) => void, reject: (error: Error) => void, timer: number}>} */
  #waiting = new Map();
  /** @type {Map<string, Cursor>} */
  #cursors = new Map();
  /** @type {Set<string>} */
  #plain = new Set();
  #failures = 0;
  #retry = 0;
  #watch = 0;
  #heard = 0;
  #stopped = true;
  /** Makes request ids unique over reloads too. */
  #prefix = Math.random().toString(36).slice(2, 8);
  #count = 0;

  /** @param {Hooks} hooks */
  constructor(hooks) {
    this.hooks = hooks;
  }

  get online() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Connect and stay connected until `stop`. */
  start() {
    this.#stopped = false;
    this.#open();
    addEventListener("online", this.#wake);
    document.addEventListener("visibilitychange", this.#wake);
  }

  /** Close for good and forget all topics. */
  stop() {
    this.#stopped = true;
    removeEventListener("online", this.#wake);
    document.removeEventListener("visibilitychange", this.#wake);
    clearTimeout(this.#retry);
    clearInterval(this.#watch);
    this.#cursors.clear();
    this.#plain.clear();
    this.#socket?.close(1000);
    this.#forgetCalls();
    this.#socket = null;
  }

  #wake = () => {
    if (document.visibilityState === "hidden" || this.#stopped) return;
    if (!this.#socket) this.#open();
    else if (this.online) this.#probe(0);
  };

  #open() {
    clearTimeout(this.#retry);
    if (this.#socket || this.#stopped) return;
    this.hooks.state("connecting");
    const socket = new WebSocket(this.hooks.address());
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#failures = 0;
      this.#heard = Date.now();
      clearInterval(this.#watch);
      this.#watch = setInterval(() => this.#probe(QUIET_MS), 5_000);
      this.#renewTopics();
      this.hooks.state("online");
    };
    socket.onmessage = (message) => {
      if (this.#socket === socket) this.#receive(message.data);
    };
    socket.onclose = () => {
      if (this.#socket === socket) this.#lost(opened);
    };
  }

  /** @param {boolean} opened whether the upgrade had worked */
  async #lost(opened) {
    this.#socket = null;
    clearInterval(this.#watch);
    this.#forgetCalls();
    for (const cursor of this.#cursors.values()) cursor.resuming = false;
    if (this.#stopped) return;
    this.hooks.state("offline");
    if (!opened) {
      const go = await this.hooks.refused().catch(() => true);
      if (!go || this.#stopped) return;
    }
    const pause = BACKOFF_MS[Math.min(this.#failures, BACKOFF_MS.length - 1)];
    this.#failures += 1;
    this.#retry = setTimeout(() => this.#open(), pause * (0.75 + Math.random() / 2));
  }

  #forgetCalls() {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const call of waiting) {
      clearTimeout(call.timer);
      call.reject(new RpcError("The connection was lost before the server answered.", "disconnected"));
    }
  }

  /** A half-open connection says nothing: ask, and give it up if nothing comes back. @param {number} quiet ms */
  #probe(quiet) {
    const socket = this.#socket;
    if (!this.online || Date.now() - this.#heard < quiet) return;
    const asked = Date.now();
    this.rpc("status", {}, 8_000).catch(() => {
      if (this.#socket !== socket || this.#heard >= asked) return;
      socket?.close();
      this.#lost(true); // the browser reports the close of a dead connection late
    });
  }

  /**
   * Call an intent; resolves with `data`, rejects with RpcError.
   * @param {string} intent @param {Record<string, any>} [params] @param {number} [timeout] ms
   * @returns {Promise<any>}
   */
  rpc(intent, params = {}, timeout = RPC_TIMEOUT_MS) {
    if (!this.online) {
      return Promise.reject(
        new RpcError("Not connected to the server. It reconnects by itself; try again then.", "offline"),
      );
    }
    this.#count += 1;
    const requestid = `${this.#prefix}-${this.#count}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(requestid);
        reject(
          new RpcError("The server did not answer in time. Try again; its log says what it was doing.", "timeout"),
        );
      }, timeout);
      this.#waiting.set(requestid, { resolve, reject, timer });
      this.#socket?.send(JSON.stringify({ type: "rpc", requestid, intent, params }));
    });
  }

  /** Get the events of a chat topic from wherever this client stands in it. @param {string} topic */
  follow(topic) {
    return this.#resume(topic, this.#cursor(topic));
  }

  /** Get events of a plain topic such as /stats, again after every reconnection. @param {string} topic */
  subscribe(topic) {
    this.#plain.add(topic);
    if (this.online) this.rpc("subscribe_channel", { topic }).catch(() => this.#plain.delete(topic));
  }

  /** @param {string} topic */
  #cursor(topic) {
    let cursor = this.#cursors.get(topic);
    if (!cursor) this.#cursors.set(topic, (cursor = new Cursor()));
    return cursor;
  }

  #renewTopics() {
    for (const topic of this.#plain) this.rpc("subscribe_channel", { topic }).catch(() => {});
    for (const [topic, cursor] of this.#cursors) this.#resume(topic, cursor).catch(() => {});
  }

  /** @param {string} topic @param {Cursor} cursor */
  async #resume(topic, cursor) {
    if (cursor.resuming) return null;
    cursor.resuming = true;
    const params = { topic, after_seq: cursor.seq, ...(cursor.epoch ? { epoch: cursor.epoch } : {}) };
    try {
      return await this.rpc("stream_resume", params);
    } finally {
      cursor.resuming = false;
      cursor.answeredAt = cursor.seq;
    }
  }

  /** @param {string} text */
  #receive(text) {
    this.#heard = Date.now();
    const frame = JSON.parse(text);
    if (Array.isArray(frame)) frame.forEach((event) => this.#event(event));
    else if (frame.type === "rpc_response") this.#answer(frame);
    else this.#event(frame);
  }

  /** @param {any} frame */
  #answer(frame) {
    const call = this.#waiting.get(frame.requestid);
    if (!call) return;
    this.#waiting.delete(frame.requestid);
    clearTimeout(call.timer);
    if (frame.status === "success") call.resolve(frame.data);
    else call.reject(new RpcError(frame.message, frame.data?.error ?? "internal", frame.data ?? {}));
  }

  /** @param {any} event */
  #event(event) {
    if (typeof event?.topic !== "string") return;
    if (!event.topic.startsWith(CHAT) || !event.data?.event) {
      this.hooks.other(event);
      return;
    }
    const cursor = this.#cursor(event.topic);
    const before = cursor.epoch === event.data.epoch ? cursor.seq : 0;
    const judgement = cursor.judge(event.data);
    if (judgement === "gap") this.#resume(event.topic, cursor).catch(() => {});
    if (judgement === "apply" || judgement === "reset") {
      const known = Cursor.known(event.data, before);
      this.hooks.chat(event.topic, known ? { ...event.data, known } : event.data, judgement === "reset");
    }
  }
}
