/**
 * The order of a plan with branches as a small drawing: one row a wave, steps that may run at the same time side by side.
 *
 * Used by plan-card.js. The list below it says the same in words, so the drawing is one picture with a sentence.
 */

import { html } from "../vendor/preact.js";
import { title, visible } from "./format.js";
import { orderInWords, sourcesOf, wavesOf } from "./plan-words.js";

const [WIDTH, HEIGHT, GAP_X, GAP_Y, EDGE] = [142, 40, 12, 26, 2];
const LETTERS = 19;

/** @param {string} text */
const short = (text) => (text.length > LETTERS ? `${text.slice(0, LETTERS - 1)}…` : text);

/** A plan whose steps simply follow each other needs no drawing. @param {any[]} steps */
export const isBranched = (steps) => wavesOf(steps).some((wave) => wave.length > 1);

/** @param {{steps: any[]}} props */
export function Graph({ steps }) {
  const waves = wavesOf(steps);
  const widest = Math.max(...waves.map((wave) => wave.length));
  const width = widest * (WIDTH + GAP_X) - GAP_X + 2 * EDGE;
  const height = waves.length * (HEIGHT + GAP_Y) - GAP_Y + 2 * EDGE;
  /** @type {Map<string, {x: number, y: number, step: any}>} */
  const nodes = new Map();
  for (const [row, wave] of waves.entries()) {
    const indent = EDGE + ((widest - wave.length) * (WIDTH + GAP_X)) / 2;
    for (const [i, step] of wave.entries()) {
      nodes.set(step.id, { x: indent + i * (WIDTH + GAP_X), y: EDGE + row * (HEIGHT + GAP_Y), step });
    }
  }
  return html`<div class="graph" tabindex="0" role="group" aria-label="Order of the steps">
    <svg viewBox="0 0 ${width} ${height}" width=${width} height=${height} role="img" aria-label="Order: ${orderInWords(waves)}">
      ${[...nodes.values()].flatMap((node) => edgesTo(node, nodes))}
      ${[...nodes.values()].map(nodeOf)}
    </svg>
  </div>`;
}

/** @param {{x: number, y: number, step: any}} node @param {Map<string, {x: number, y: number}>} nodes */
function edgesTo(node, nodes) {
  return sourcesOf(node.step)
    .map((id) => nodes.get(id))
    .filter((from) => from !== undefined)
    .map((from) => {
      const [x1, y1, x2, y2] = [from.x + WIDTH / 2, from.y + HEIGHT, node.x + WIDTH / 2, node.y];
      const bend = Math.min((y2 - y1) / 2, GAP_Y);
      return html`<path class="edge" d="M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}" />`;
    });
}

/** @param {{x: number, y: number, step: any}} node */
function nodeOf({ x, y, step }) {
  return html`<g class="node state-${step.state} effect-${step.effect}" transform="translate(${x} ${y})">
    <rect width=${WIDTH} height=${HEIGHT} rx="8" />
    <text x="10" y="16" class="id">${visible(step.id)}${step.when ? ", if …" : ""}</text>
    <text x="10" y="31">${short(title(step.intent))}</text>
  </g>`;
}
