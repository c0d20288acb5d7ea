/**
 * Code blocks with a copy button; closed ones are highlighted as soon as the library is there.
 *
 * Used by markdown.js and plan values. The highlighter's own tree is walked into spans, so no HTML string is made;
 * `_emitter` is private to highlight.js, hence the pinned version and a test.
 */

import { copyText } from "./copy.js";

const LIMIT = 50_000;
/** @type {Promise<any> | null} */
let loading = null;
/** @type {Promise<any>} */
let pending = Promise.resolve();

/** Resolves when all that was to be coloured so far is. */
export const coloured = () => pending;

/** @returns {Promise<any>} */
function highlighter() {
  loading ??= import("../vendor/highlight.js").then((module) => module.default);
  return loading;
}

/** @param {any} tree @returns {Node} */
function spans(tree) {
  if (typeof tree === "string") return document.createTextNode(tree);
  const node = tree.scope ? document.createElement("span") : document.createDocumentFragment();
  if (tree.scope) {
    const [first, ...rest] = String(tree.scope).split(".");
    /** @type {HTMLElement} */ (node).className = [`hljs-${first}`, ...rest.map((part) => `${part}_`)].join(" ");
  }
  for (const child of tree.children) node.appendChild(spans(child));
  return node;
}

/** Colour the text of a code element. @param {HTMLElement} code @param {string} language */
async function highlight(code, language) {
  const text = code.textContent ?? "";
  if (text.length > LIMIT) return;
  const library = await highlighter();
  if (!library.getLanguage(language)) return;
  const { _emitter: emitter } = library.highlight(text, { language, ignoreIllegals: true });
  code.replaceChildren(spans(emitter.rootNode));
}

/** @param {string} text @param {string} info the words after the fence @param {boolean} closed */
export function codeBlock(text, info, closed) {
  const language = /^[\w+#.-]*/.exec(info)?.[0].toLowerCase() ?? "";
  const code = document.createElement("code");
  code.textContent = text;
  const pre = document.createElement("pre");
  pre.tabIndex = 0;
  pre.append(code);
  const label = document.createElement("span");
  label.textContent = language || "text";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet small";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy code");
  button.addEventListener("click", () => copyText(code.textContent ?? "", button));
  const bar = document.createElement("div");
  bar.className = "code-bar";
  bar.append(label, button);
  const box = document.createElement("div");
  box.className = "code";
  box.append(bar, pre);
  if (closed && language) pending = Promise.allSettled([pending, highlight(code, language)]);
  return box;
}
