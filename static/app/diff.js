/**
 * What differs: two texts line by line, two lists of steps field by field. Pure; used by plan-preview.js and plan-diff.js.
 */

/** Cells of the table that finds the longest common lines; beyond it the middle counts as rewritten. */
const CELLS = 1_000_000;

/** @typedef {{kind: "same" | "removed" | "added", line: string}} Line  with its line end, where it has one */

/**
 * Lines kept, removed and added, in order, with as much kept as possible.
 * @param {string} before @param {string} after @returns {Line[]}
 */
export function lineDiff(before, after) {
  const [a, b] = [before, after].map((text) => (text === "" ? [] : text.split(/(?<=\n)/)));
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail += 1;
  const middle = changes(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  return [...lines("same", a.slice(0, head)), ...middle, ...lines("same", tail ? a.slice(-tail) : [])];
}

/** @param {Line["kind"]} kind @param {string[]} texts @returns {Line[]} */
const lines = (kind, texts) => texts.map((line) => ({ kind, line }));

/** @param {string[]} a @param {string[]} b @returns {Line[]} */
function changes(a, b) {
  if (a.length * b.length > CELLS) return [...lines("removed", a), ...lines("added", b)];
  const width = b.length + 1;
  const common = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      const [down, right] = [common[(i + 1) * width + j], common[i * width + j + 1]];
      common[i * width + j] = a[i] === b[j] ? common[(i + 1) * width + j + 1] + 1 : Math.max(down, right);
    }
  }
  /** @type {Line[]} */
  const found = [];
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      found.push({ kind: "same", line: a[i] });
      i += 1;
      j += 1;
    } else if (common[(i + 1) * width + j] >= common[i * width + j + 1]) found.push({ kind: "removed", line: a[i++] });
    else found.push({ kind: "added", line: b[j++] });
  }
  return [...found, ...lines("removed", a.slice(i)), ...lines("added", b.slice(j))];
}

/** Whether two JSON values are the same, whatever the order of keys. @param {any} a @param {any} b @returns {boolean} */
export function same(a, b) {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
}
