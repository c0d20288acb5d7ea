/**
 * What a step would touch: its targets, what differs before and after, and what else is known of them.
 *
 * Used by plan-step.js. Everything the server found is shown; what changes comes first, long texts as a diff.
 */

import { html } from "../vendor/preact.js";
import { lineDiff, same } from "./diff.js";
import { cell, heading, plural, visible } from "./format.js";
import { Value } from "./value.js";

/** Facts that prove more than they tell. */
const PROOFS = ["sha256"];

/** @param {any} value */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {any} value @returns {Record<string, any>} */
const fields = (value) => (isObject(value) ? value : value === null || value === undefined ? {} : { value });

/** @param {any} value */
const isText = (value) => typeof value === "string" || value === undefined || value === null;

/** Whether a change is better read line by line. @param {any} before @param {any} after */
const isLong = (before, after) =>
  isText(before) && isText(after) && [before, after].some((text) => text?.includes("\n"));

/** @param {{preview: {targets: string[], before: any, after: any, blast: number}}} props */
export function Preview({ preview }) {
  const before = fields(preview.before);
  const after = fields(preview.after);
  const changed = Object.keys(after).filter((key) => !PROOFS.includes(key) && !same(before[key], after[key]));
  const facts = Object.keys(before).filter((key) => !changed.includes(key));
  const proofs = PROOFS.filter((key) => key in after);
  return html`<div class="preview">
    <p class="small"><b>${plural(preview.blast, "target")}</b>${" "}
      ${preview.targets.map((target) => html`<code class="value">${visible(String(target))}</code>${" "}`)}</p>
    ${changed.length > 0 && html`<${Changes} keys=${changed} before=${before} after=${after} />`}
    ${
      facts.length + proofs.length > 0 &&
      html`<dl class="facts">
      ${facts.map((key) => html`<${Fact} name=${proofs.includes(key) ? `${key} now` : key} of=${key} value=${before[key]} />`)}
      ${proofs.map((key) => html`<${Fact} name=${`${key} afterwards`} of=${key} value=${after[key]} />`)}
    </dl>`
    }
  </div>`;
}

/** @param {{keys: string[], before: Record<string, any>, after: Record<string, any>}} props */
function Changes({ keys, before, after }) {
  const long = keys.filter((key) => isLong(before[key], after[key]));
  const short = keys.filter((key) => !long.includes(key));
  return html`${short.length > 0 && html`<${ChangeTable} keys=${short} before=${before} after=${after} />`}
    ${long.map((key) => html`<${TextDiff} name=${heading(key)} before=${before[key] ?? ""} after=${after[key] ?? ""} />`)}`;
}

/** @param {{keys: string[], before: Record<string, any>, after: Record<string, any>}} props */
export function ChangeTable({ keys, before, after }) {
  return html`<div class="table-scroll"><table class="changes">
    <thead><tr><th scope="col">What</th><th scope="col">Now</th><th scope="col">Afterwards</th></tr></thead>
    <tbody>${keys.map(
      (key) => html`<tr>
        <th scope="row">${visible(heading(key))}</th>
        <td><${Side} name=${key} value=${before[key]} /></td>
        <td><${Side} name=${key} value=${after[key]} /></td>
      </tr>`,
    )}</tbody>
  </table></div>`;
}

const SIGNS = { same: " ", removed: "−", added: "+" };
const SPOKEN = { same: "", removed: "removed: ", added: "added: " };
/** Unchanged lines shown around a change; the rest is folded, not left out. */
const AROUND = 3;

/** Two texts line by line. @param {{name: string, before: string, after: string}} props */
export function TextDiff({ name, before, after }) {
  const all = lineDiff(before, after);
  const added = all.filter((one) => one.kind === "added").length;
  const removed = all.filter((one) => one.kind === "removed").length;
  return html`<figure class="diff" aria-label="Changes of ${visible(name)}">
    <figcaption class="small"><b>${visible(name)}</b> <span class="muted">${plural(removed, "line")} removed, ${plural(added, "line")} added</span></figcaption>
    <div class="diff-lines mono" tabindex="0" role="group" aria-label="Lines of ${visible(name)}">${folded(all).map(
      (piece) =>
        piece.fold
          ? html`<details><summary class="muted">${plural(piece.lines.length, "line")} as before</summary>${piece.lines.map(row)}</details>`
          : piece.lines.map(row),
    )}</div>
  </figure>`;
}

/** @param {import("./diff.js").Line} line */
const row = ({ kind, line }) => html`<div class="line ${kind}">
  <span class="sign" aria-hidden="true">${SIGNS[kind]}</span><span class="offscreen">${SPOKEN[kind]}</span><span class="text">${visible(line.replace(/\n$/, ""))}${line.endsWith("\n") ? "" : html` <i class="muted">without a line end</i>`}</span></div>`;

/** Long runs of unchanged lines apart. @param {import("./diff.js").Line[]} lines */
function folded(lines) {
  /** @type {{fold: boolean, lines: import("./diff.js").Line[]}[]} */
  const pieces = [];
  const near = lines.map((_, i) =>
    lines.slice(Math.max(0, i - AROUND), i + AROUND + 1).some((one) => one.kind !== "same"),
  );
  for (const [i, line] of lines.entries()) {
    const last = pieces.at(-1);
    if (last && last.fold === !near[i]) last.lines.push(line);
    else pieces.push({ fold: !near[i], lines: [line] });
  }
  return pieces.map((piece) => ({ ...piece, fold: piece.fold && piece.lines.length > 1 }));
}

/** @param {{name: string, value: any}} props */
function Side({ name, value }) {
  if (value === undefined || value === null) return html`<span class="muted">nothing</span>`;
  if (typeof value === "number" || typeof value === "boolean") return html`<span>${cell(name, value)}</span>`;
  return html`<${Value} value=${value} />`;
}

/** @param {{name: string, of: string, value: any}} props */
function Fact({ name, of, value }) {
  return html`<div><dt>${visible(heading(name))}</dt><dd>${
    isObject(value) ? html`<${Value} value=${value} />` : visible(cell(of, value))
  }</dd></div>`;
}
