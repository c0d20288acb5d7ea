/** The last minutes of the host's statistics from topic /stats. Filled by store.js, shown by stats.js. Pure. */

import { signal } from "../vendor/preact.js";

const KEEP = 90;

/** @typedef {{at: number, cpu: number | null, memory: number | null, used: number | null, total: number | null}} Sample */
/** @type {import("../vendor/preact.js").Signal<Sample[]>} */
export const samples = signal([]);

/** The first number found under any of the paths. @param {any} data @param {string[]} paths */
function find(data, paths) {
  for (const path of paths) {
    const value = path.split(".").reduce((at, key) => at?.[key], data);
    if (typeof value === "number") return value;
  }
  return null;
}

/** @param {any} data of a /stats event @param {number} at epoch ms */
export function pushStats(data, at) {
  const sample = {
    at,
    cpu: find(data, ["cpu.percent", "cpu.usage_percent", "cpu_percent", "cpu.cpu_percent"]),
    memory: find(data, ["memory.percent", "memory.used_percent", "memory_percent", "mem.percent"]),
    used: find(data, ["memory.used_bytes", "memory.used"]),
    total: find(data, ["memory.total_bytes", "memory.total"]),
  };
  samples.value = [...samples.value, sample].slice(-KEEP);
}

export function resetStats() {
  samples.value = [];
}
