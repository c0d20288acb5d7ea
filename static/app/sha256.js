/**
 * SHA-256 as lower-case hex, for the login form.
 *
 * `crypto.subtle` exists only in secure contexts (https or localhost); on plain http elsewhere the small version below
 * does the same (FIPS 180-4).
 */

const K = new Uint32Array(64);
const START = new Uint32Array(8);

/** Fractional bits of the roots of the first primes, which is how the standard defines its constants. */
function fillConstants() {
  const bits = (/** @type {number} */ x) => Math.floor((x - Math.floor(x)) * 2 ** 32);
  let found = 0;
  for (let n = 2; found < 64; n += 1) {
    let prime = true;
    for (let d = 2; d * d <= n; d += 1) if (n % d === 0) prime = false;
    if (!prime) continue;
    if (found < 8) START[found] = bits(Math.sqrt(n));
    K[found] = bits(Math.cbrt(n));
    found += 1;
  }
}
fillConstants();

const rotate = (/** @type {number} */ x, /** @type {number} */ n) => (x >>> n) | (x << (32 - n));

/** @param {Uint8Array} bytes @returns {Uint8Array} message with padding and length */
function padded(bytes) {
  const size = Math.ceil((bytes.length + 9) / 64) * 64;
  const out = new Uint8Array(size);
  out.set(bytes);
  out[bytes.length] = 0x80;
  const view = new DataView(out.buffer);
  view.setUint32(size - 8, Math.floor(bytes.length / 2 ** 29));
  view.setUint32(size - 4, (bytes.length << 3) >>> 0);
  return out;
}

/** @param {Uint32Array} state @param {DataView} view @param {number} at @param {Uint32Array} w scratch */
function block(state, view, at, w) {
  for (let i = 0; i < 16; i += 1) w[i] = view.getUint32(at + i * 4);
  for (let i = 16; i < 64; i += 1) {
    const s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >>> 3);
    const s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >>> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 64; i += 1) {
    const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
    const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((value, i) => {
    state[i] += value;
  });
}

/** The portable way. @param {string} text @returns {string} */
export function sha256Portable(text) {
  const message = padded(new TextEncoder().encode(text));
  const view = new DataView(message.buffer);
  const state = START.slice();
  const scratch = new Uint32Array(64);
  for (let at = 0; at < message.length; at += 64) block(state, view, at, scratch);
  return Array.from(state, (word) => word.toString(16).padStart(8, "0")).join("");
}

/** @param {string} text @returns {Promise<string>} 64 hex digits */
export async function sha256(text) {
  if (!globalThis.crypto?.subtle) return sha256Portable(text);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
