/**
 * The one connection of this page to its server. Used by store.js, which sets what happens with what comes.
 */

import { signal } from "../vendor/preact.js";
import { refresh, session } from "./auth.js";
import { Wire } from "./wire.js";

/** @type {import("../vendor/preact.js").Signal<"connecting" | "online" | "offline">} */
export const connection = signal("connecting");

/** Set by the store before the first connection. */
export const hooks = {
  connected() {},
  /** @type {(topic: string, data: any, restarted: boolean) => void} */
  chat() {},
  /** @type {(event: any) => void} of a topic outside chats */
  other() {},
};

export const wire = new Wire({
  address() {
    const url = new URL("ws", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("token", session.value?.access.token ?? "");
    return url.href;
  },
  state(state) {
    connection.value = state;
    if (state === "online") hooks.connected();
  },
  chat: (topic, data, restarted) => hooks.chat(topic, data, restarted),
  other: (event) => hooks.other(event),
  refused: renewIfReachable,
});

/** Whether to go on trying: a dead server is waited for, a token that is over is renewed, a revoked one ends it. */
async function renewIfReachable() {
  const alive = await fetch(new URL("healthz", document.baseURI)).then(
    (answer) => answer.ok,
    () => false,
  );
  return alive ? refresh() : true;
}

/** @param {string} intent @param {Record<string, any>} [params] */
export function rpc(intent, params) {
  return wire.rpc(intent, params);
}
