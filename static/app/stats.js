/** Small charts of processor and memory, live. Used by rail.js. */

import { html } from "../vendor/preact.js";
import { bytes } from "./format.js";
import { samples } from "./stats-data.js";

const WIDTH = 240;
const HEIGHT = 40;

/** @param {(number | null)[]} values percent */
function path(values) {
  const step = WIDTH / Math.max(values.length - 1, 11);
  const start = WIDTH - step * (values.length - 1);
  const known = values.map((value, i) => [start + i * step, HEIGHT - 1 - ((value ?? 0) / 100) * (HEIGHT - 4)]);
  return known.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}

/** @param {{name: string, values: (number | null)[], note: string}} props */
function Meter({ name, values, note }) {
  const now = values.at(-1);
  if (now === null || now === undefined) return null;
  const line = path(values);
  const start = /^M([\d.]+)/.exec(line)?.[1] ?? "0";
  return html`<figure class="meter">
    <figcaption><span class="grow">${name}</span><b>${Math.round(now)} %</b></figcaption>
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${name}: ${Math.round(now)} percent now, highest ${Math.round(Math.max(...values.map((v) => v ?? 0)))} percent of late">
      <path class="area" d="${line}L${WIDTH} ${HEIGHT}L${start} ${HEIGHT}Z" />
      <path class="line" d=${line} />
    </svg>
    ${note && html`<p class="small muted">${note}</p>`}
  </figure>`;
}

export function Stats() {
  const all = samples.value;
  const last = all.at(-1);
  if (!last) return html`<p class="small muted">Waiting for the first figures…</p>`;
  const memory = last.used !== null && last.total !== null ? `${bytes(last.used)} of ${bytes(last.total)}` : "";
  return html`<${Meter} name="Processor" values=${all.map((one) => one.cpu)} note="" />
    <${Meter} name="Memory" values=${all.map((one) => one.memory)} note=${memory} />`;
}
