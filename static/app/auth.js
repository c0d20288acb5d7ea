/**
 * Login, refresh and logout over HTTP; keeps the tokens in this tab's sessionStorage.
 *
 * Used by main.js and login.js. Knows nothing of the WebSocket.
 */

import { signal } from "../vendor/preact.js";
import { sha256 } from "./sha256.js";

const KEY = "llmcore.session";
/** Seconds before expiry at which a new access token is fetched. */
const AHEAD = 60;

/** @typedef {{token: string, issued: number, expires: number}} Token  times in epoch seconds */
/** @typedef {{user: string, access: Token, refresh: Token}} Session */

/** @type {import("../vendor/preact.js").Signal<Session | null>} */
export const session = signal(read());
let timer = 0;

function read() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    return kept && kept.refresh.expires > Date.now() / 1000 ? kept : null;
  } catch {
    return null;
  }
}

/** @param {Session | null} value */
function keep(value) {
  if (value) sessionStorage.setItem(KEY, JSON.stringify(value));
  else sessionStorage.removeItem(KEY);
  session.value = value;
  clearTimeout(timer);
  if (value) {
    const left = value.access.expires - Date.now() / 1000 - AHEAD;
    timer = setTimeout(() => refresh().catch(() => {}), Math.min(Math.max(left, 5), 86_400) * 1000);
  }
}

/** @param {string} path @param {Record<string, string>} form */
async function post(path, form) {
  const url = new URL(path, document.baseURI);
  const response = await fetch(url, { method: "POST", body: new URLSearchParams(form), credentials: "omit" });
  const body = await response.json().catch(() => ({}));
  return { status: response.status, body };
}

/**
 * Log in; throws an Error with a sentence for the person.
 * @param {string} username @param {string} password
 */
export async function login(username, password) {
  let answer;
  try {
    answer = await post("authorize", { username, password: await sha256(password) });
  } catch {
    throw new Error("The server cannot be reached. Check that llmcore runs and that you are on the right network.");
  }
  if (answer.status === 200) {
    keep({ user: username, ...answer.body.data });
    return;
  }
  if (answer.status === 429) {
    const wait = Math.ceil(answer.body.data?.retry_after_s ?? 5);
    throw new Error(`Too many attempts. Wait ${wait} seconds, then try again.`);
  }
  if (answer.status === 403 || answer.status === 401) {
    throw new Error("User name or password is wrong. An administrator can set a new one: llmcore user passwd NAME.");
  }
  throw new Error(answer.body.message ?? `The server answered ${answer.status}. Its log says why.`);
}

/** @type {Promise<boolean> | null} */
let running = null;

/**
 * Fetch new tokens; false if the session is over (then it is forgotten). Throws if the server cannot be reached.
 * @returns {Promise<boolean>}
 */
export function refresh() {
  running ??= renew().finally(() => {
    running = null;
  });
  return running;
}

async function renew() {
  const old = session.value;
  if (!old) return false;
  const answer = await post("authorize/refresh", { token: old.refresh.token });
  if (answer.status === 200) {
    keep({ ...old, ...answer.body.data });
    return true;
  }
  if (answer.status < 500 && answer.status !== 429) keep(null);
  return answer.status >= 500 || answer.status === 429;
}

/** Revoke both tokens and forget them. */
export async function logout() {
  const old = session.value;
  keep(null);
  if (!old) return;
  await Promise.allSettled([
    post("authorize/revoke", { token: old.refresh.token }),
    post("authorize/revoke", { token: old.access.token }),
  ]);
}

/** Start the timer for a session found in storage. */
export function resumeSession() {
  if (session.value) keep(session.value);
}
