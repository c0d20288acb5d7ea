/** The last minutes of the host's statistics from topic /stats. Filled by store.js, shown by stats.js. Pure. */

import { signal } from "../vendor/preact.js";

const KEEP = 90;

/** @typedef {{at: number, cpu: number | null, memory: number | null, used: number | null, total: number | null}} Sample */
/** @type {import("../vendor/preact.js").Signal<Sample[]>} */
export const samples = signal([]);

/** @param {any} value */
const figure = (value) => (typeof value === "number" ? value : null);

/** @param {any} data of a /stats event @param {number} at epoch ms */
export function pushStats(data, at) {
  const sample = {
    at,
    cpu: figure(data?.cpu?.usage_percent),
    memory: figure(data?.memory?.used_percent),
    used: figure(data?.memory?.used_bytes),
    total: figure(data?.memory?.total_bytes),
  };
  samples.value = [...samples.value, sample].slice(-KEEP);
}

export function resetStats() {
  samples.value = [];
}
