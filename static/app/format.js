/** Numbers, times and texts for people. Used by all components; pure. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** @param {number} bytes */
export function bytes(bytes) {
  let value = Math.abs(bytes);
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit && value < 100 ? 1 : 0;
  return `${bytes < 0 ? "−" : ""}${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** @param {number} value */
export function number(value) {
  return Number.isInteger(value)
    ? value.toLocaleString("en")
    : value.toLocaleString("en", { maximumFractionDigits: 2 });
}

/** @param {number} n @param {string} word */
export const plural = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`;

/** What is left until a time. @param {number} ms */
export function left(ms) {
  if (ms <= 0) return "now";
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return `${minutes} min ${seconds % 60} s`;
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} days`;
}

/** How long ago. @param {string} time RFC 3339 */
export function ago(time) {
  const ms = Date.now() - Date.parse(time);
  if (Number.isNaN(ms)) return "";
  if (ms < 60_000) return "just now";
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ago`;
  if (ms < 86_400_000) return `${Math.floor(ms / 3_600_000)} h ago`;
  return new Date(time).toLocaleDateString("en-CA");
}

/** The start of a digest, as the terminal shows it. @param {string | null} digest */
export const shortDigest = (digest) => (digest ?? "").replace(/^sha256:/, "").slice(0, 8);

const PROVIDERS = {
  local: "answered locally",
  cache: "answered locally, from the plan cache",
  template: "from a template",
  local_model: "answered by a local model",
  api: "sent by a program",
};

/** @param {string} by @returns {string} */
export function provider(by) {
  if (!by) return "";
  return PROVIDERS[/** @type {keyof typeof PROVIDERS} */ (by)] ?? `answered by ${by}`;
}

/** Characters that show nothing or turn text around; in params they could hide what will run. */
// eslint-disable-next-line no-control-regex
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

/** The text with hidden characters written out. @param {string} text */
export function visible(text) {
  return text.replace(HIDDEN, (c) => `⟨U+${(c.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

/** `memory_bytes` -> `memory`, `uptime_s` -> `uptime` @param {string} name */
export function heading(name) {
  const bare = name.replace(/_bytes(?=_per_s$|$)/, "").replace(/_per_s$/, " a second");
  return bare
    .replace(/_percent(?=_|$)/, " %")
    .replace(/(?<=\w)_s$/, "")
    .replaceAll("_", " ");
}

/** `list_processes` -> `list processes` @param {string} intent */
export const title = (intent) => visible(intent.replaceAll("_", " "));

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;

/** A point in time as this place has it. @param {string} time RFC 3339 */
export const localTime = (time) => new Date(time).toLocaleString("en-CA", { hour12: false }).replace(",", "");

/** @param {string} column @param {any} value */
export function cell(column, value) {
  if (typeof value === "string" && TIME.test(value)) return localTime(value);
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") {
    if (/(_bytes|^bytes|^size|_bytes_per_s)$/.test(column)) return bytes(value);
    if (/_percent(_per_core)?$/.test(column)) return value.toFixed(1);
    if (/_s$/.test(column) && !/_per_s$/.test(column)) return `${number(value)} s`;
    return /^(pid|ppid|port|uid|gid|job_?id|id|line)$/i.test(column) ? String(value) : number(value);
  }
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value) && value.every((one) => typeof one !== "object")) {
    return value.length ? value.map((one) => cell(column, one)).join(", ") : "–";
  }
  return typeof value === "string" ? visible(value) : visible(JSON.stringify(value));
}
