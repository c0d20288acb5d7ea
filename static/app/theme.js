/** Light, dark or as the system has it; kept in this browser. Used by main.js and chart.js. */

import { computed, effect, html, signal } from "../vendor/preact.js";
import { Icon } from "./icons.js";

const KEY = "llmcore.theme";
const NEXT = { auto: "dark", dark: "light", light: "auto" };
const LOOKS = { auto: ["auto", "as the system"], dark: ["moon", "dark"], light: ["sun", "light"] };

/** @returns {keyof typeof NEXT} */
function kept() {
  const value = localStorage.getItem(KEY) ?? "";
  return value in NEXT ? /** @type {keyof typeof NEXT} */ (value) : "auto";
}

const system = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(system.matches);
system.addEventListener("change", () => {
  systemDark.value = system.matches;
});

export const theme = signal(kept());
/** What is to be seen now; charts are drawn anew when it changes. */
export const isDark = computed(() => (theme.value === "auto" ? systemDark.value : theme.value === "dark"));

effect(() => {
  localStorage.setItem(KEY, theme.value);
  document.documentElement.dataset.theme = theme.value;
});

export function ThemeButton() {
  const [icon, words] = LOOKS[theme.value];
  const turn = () => {
    theme.value = /** @type {keyof typeof NEXT} */ (NEXT[theme.peek()]);
  };
  return html`<button type="button" class="quiet icon-only" onClick=${turn} title="Colours: ${words}" aria-label="Colours: ${words}">
    <${Icon} name=${icon} />
  </button>`;
}
