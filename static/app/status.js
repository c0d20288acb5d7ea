/** Reading the answer of the RPC `status`. Used by chat.js and rail.js; pure. */

/** @param {any} status */
export const modelIsOn = (status) => (status.provider ?? "offline") !== "offline";
