/**
 * A series as a chart with a one-sentence summary and a table instead, on demand.
 *
 * uPlot is loaded when the first chart appears. Used by results.js.
 */

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { bytes, localTime, number, visible } from "./format.js";
import { Table } from "./table.js";
import { isDark } from "./theme.js";

/** @type {Promise<any> | null} */
let loading = null;
const uplot = () => (loading ??= import("../vendor/uplot.js").then((module) => module.default));
const HEIGHT = 200;

/** @param {string} name of a CSS variable holding a plain colour */
function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** @param {number} value @param {string} unit */
const told = (value, unit) =>
  unit === "bytes" ? bytes(value) : `${number(value)}${unit ? ` ${SIGNS[unit] ?? unit}` : ""}`;
const SIGNS = /** @type {Record<string, string>} */ ({ percent: "%", seconds: "s" });
/** @param {number} seconds @param {number} step between ticks */
const clock = (seconds, step) => {
  const at = new Date(seconds * 1000);
  return step >= 86_400
    ? at.toLocaleDateString("en-CA")
    : at.toLocaleTimeString("en-GB", { timeStyle: step < 60 ? "medium" : "short" });
};

/** A time of the day or a label as it is. @param {any} label */
const shortTime = (label) => (times([label, label]) ? localTime(label) : label);

/** @param {string} name @param {any} display @returns {string} */
export function summary(name, { labels, values, unit = "" }) {
  const known = values.filter((/** @type {any} */ value) => typeof value === "number");
  if (!known.length) return `${name}: no values.`;
  const high = Math.max(...known);
  const low = Math.min(...known);
  const at = (/** @type {number} */ value) => shortTime(labels[values.indexOf(value)]);
  return `${name}: ${known.length} values, highest ${told(high, unit)} (${at(high)}), lowest ${told(low, unit)} (${at(low)}).`;
}

/** Seconds of each label if all are times, else null. @param {any[]} labels */
function times(labels) {
  const found = labels.map((label) =>
    /^\d{4}-\d\d-\d\dT/.test(String(label)) ? Date.parse(label) / 1000 : Number.NaN,
  );
  return labels.length > 1 && found.every((value) => !Number.isNaN(value)) ? found : null;
}

/** @param {any} library @param {any} display @param {number} width */
function options(library, display, width) {
  const axis = {
    stroke: colour("--muted"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
    font: "11px system-ui, sans-serif",
  };
  const line = times(display.labels);
  const unit = display.unit ?? "";
  const bars = line ? {} : { paths: library.paths.bars({ size: [0.7, 48], radius: 0.15 }), points: { show: false } };
  const names = line
    ? {
        values: (/** @type {any} */ _, /** @type {number[]} */ ticks) =>
          ticks.map((tick) => clock(tick, ticks.length > 1 ? ticks[1] - ticks[0] : 0)),
      }
    : {
        splits: () => display.labels.map((/** @type {any} */ _, /** @type {number} */ i) => i),
        values: () => display.labels.map((/** @type {any} */ label) => String(label).slice(0, 14)),
      };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false },
    scales: {
      x: { time: !!line, ...(line ? {} : { range: [-0.6, display.labels.length - 0.4] }) },
      y: {
        range: (/** @type {any} */ _, /** @type {number} */ low, /** @type {number} */ high) => [
          Math.min(0, low),
          high * 1.1 || 1,
        ],
      },
    },
    axes: [
      { ...axis, ...names },
      {
        ...axis,
        size: 68,
        values: (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map((v) => told(v, unit)),
      },
    ],
    series: [{}, { stroke: colour("--accent"), fill: colour(line ? "--accent-soft" : "--accent"), width: 2, ...bars }],
  };
}

/** @param {{name: string, display: {labels: any[], values: number[], unit?: string}}} props */
export function Chart({ name, display }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const [table, setTable] = useState(false);
  const title = name.replaceAll("_", " ");
  const dark = isDark.value;
  useEffect(() => {
    if (table) return undefined;
    let plot = /** @type {any} */ (null);
    let gone = false;
    const element = /** @type {HTMLElement} */ (box.current);
    const sizes = new ResizeObserver(() => plot?.setSize({ width: element.clientWidth, height: HEIGHT }));
    uplot().then((library) => {
      if (gone) return;
      const xs = times(display.labels) ?? display.labels.map((_, i) => i);
      plot = new library(options(library, display, element.clientWidth), [xs, display.values], element);
      sizes.observe(element);
    });
    return () => {
      gone = true;
      sizes.disconnect();
      plot?.destroy();
    };
  }, [display, table, dark]);
  const rows = display.labels.map((label, i) => [label, display.values[i]]);
  return html`<figure class="result">
    <figcaption>
      <span class="grow">${visible(title)} <span class="muted">${visible(display.unit ?? "")}</span></span>
      <button type="button" class="quiet small" aria-pressed=${table} onClick=${() => setTable(!table)}>${table ? "As chart" : "As table"}</button>
    </figcaption>
    ${
      table
        ? html`<${Table} name=${name} columns=${["label", display.unit || "value"]} rows=${rows} />`
        : html`<div class="chart" role="img" aria-label=${visible(summary(title, display))} ref=${box}></div>
          <p class="small muted">${visible(summary(title, display))}</p>`
    }
  </figure>`;
}
