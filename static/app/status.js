/** Reading the answer of the RPC `status`. Used by chat.js and rail.js; pure. */

/** @param {any} status answer of the RPC `status` */
export function modelIsOn(status) {
  const provider = status.provider ?? status.llm ?? status.model ?? {};
  if (typeof provider === "string") return provider !== "offline";
  return provider.available ?? (provider.name ?? "offline") !== "offline";
}
