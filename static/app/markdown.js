/**
 * Markdown of models as DOM, streamed: each animation frame only the unfinished tail is read again.
 *
 * marked is used as a lexer alone; nodes are built from its tokens, so no HTML string exists anywhere. Raw HTML is shown
 * as text, links are http, https or mailto, images are never fetched (a remote image in model text would carry data
 * out). Used by message.js; knows nothing of chats.
 */

import { lexer } from "../vendor/marked.js";
import { codeBlock } from "./code.js";
import { decodeEntities } from "./entities.js";

/** Blocks at the end that later text may still change. */
const UNSETTLED = 2;
/** Markdown headings start below those of the page. */
const TOP_HEADING = 4;

/** @typedef {any} Token  a token of marked */
/** @typedef {{heading: number}} Context  the level of the last heading, so that levels never skip one */

/** @param {string} tag @param {(Node | string)[]} children @param {Record<string, string>} [attributes] */
function element(tag, children = [], attributes = {}) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** The address if it may be followed, else null. @param {string} href */
export function safeLink(href) {
  try {
    const url = new URL(decodeEntities(href).trim());
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** @param {string} href @param {(Node | string)[]} label */
function link(href, label) {
  const url = safeLink(href);
  if (!url) return element("span", label, { class: "md-deadlink" });
  return element("a", label, { href: url, rel: "noopener noreferrer", target: "_blank" });
}

/** @type {Record<string, (token: Token) => Node | string>} */
const INLINE = {
  text: (t) => (t.tokens ? element("span", inline(t.tokens)) : decodeEntities(t.text)),
  escape: (t) => t.text,
  html: (t) => t.raw,
  br: () => element("br"),
  strong: (t) => element("strong", inline(t.tokens)),
  em: (t) => element("em", inline(t.tokens)),
  del: (t) => element("del", inline(t.tokens)),
  codespan: (t) => element("code", [t.text]),
  link: (t) => link(t.href, inline(t.tokens)),
  image: (t) => link(t.href, [`image: ${decodeEntities(t.text) || t.href}`]),
  checkbox: (t) => (t.checked ? "☑ " : "☐ "),
};

/** @param {Token[]} tokens @returns {(Node | string)[]} */
function inline(tokens = []) {
  return tokens.map((token) => (INLINE[token.type] ?? ((t) => t.raw))(token));
}

/** @param {Token} token @param {Context} context */
function heading(token, context) {
  const level = Math.min(TOP_HEADING - 1 + token.depth, context.heading + 1, 6);
  context.heading = level;
  return element(`h${level}`, inline(token.tokens), { class: `md-h${token.depth}` });
}

/** @param {Token} token */
function table(token) {
  const cell = (/** @type {string} */ tag) => (/** @type {Token} */ c) =>
    element(tag, inline(c.tokens), {
      ...(c.align ? { class: `align-${c.align}` } : {}),
      ...(tag === "th" ? { scope: "col" } : {}),
    });
  const head = element("thead", [element("tr", token.header.map(cell("th")))]);
  const body = element(
    "tbody",
    token.rows.map((/** @type {Token[]} */ row) => element("tr", row.map(cell("td")))),
  );
  return element("div", [element("table", [head, body])], { class: "md-table", tabindex: "0", role: "group" });
}

/** @param {Token} token @param {Context} context */
function list(token, context) {
  const items = token.items.map((/** @type {Token} */ item) => element("li", blocks(item.tokens, context)));
  /** @type {Record<string, string>} */
  const start = token.ordered && token.start !== 1 ? { start: String(token.start) } : {};
  return element(token.ordered ? "ol" : "ul", items, start);
}

/** A fence that is not closed yet grows; it is highlighted once it is whole. @param {Token} token */
function isClosed(token) {
  if (token.codeBlockStyle === "indented") return false;
  const fence = /^ {0,3}(`{3,}|~{3,})/.exec(token.raw)?.[1];
  const lines = token.raw.trimEnd().split("\n");
  const last = lines[lines.length - 1].trim();
  return lines.length > 1 && !!fence && last.length >= fence.length && last === fence[0].repeat(last.length);
}

/** @param {Token} token @param {Context} context @returns {Node | string | null} */
function block(token, context) {
  switch (token.type) {
    case "heading":
      return heading(token, context);
    case "paragraph":
      return element("p", inline(token.tokens));
    case "text": // a tight list item
      return element("span", token.tokens ? inline(token.tokens) : [decodeEntities(token.text)]);
    case "code":
      return codeBlock(token.text, token.lang ?? "", isClosed(token));
    case "list":
      return list(token, context);
    case "table":
      return table(token);
    case "blockquote":
      return element("blockquote", blocks(token.tokens, context));
    case "hr":
      return element("hr");
    case "html":
      return element("p", [token.raw.trimEnd()], { class: "md-raw" });
    case "checkbox":
      return element("span", [INLINE.checkbox(token)]);
    case "space":
    case "def":
      return null;
    default:
      return element("p", [token.raw]);
  }
}

/** @param {Token[]} tokens @param {Context} context */
function blocks(tokens, context) {
  return tokens.map((token) => block(token, context)).filter((node) => node !== null);
}

/** Line ends as the lexer counts them. @param {string} text */
const lines = (text) => (text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text);

/** Render a whole text at once. @param {HTMLElement} container @param {string} text */
export function renderMarkdown(container, text) {
  const stream = new MarkdownStream(container);
  stream.set(text);
  return stream;
}

/** @typedef {{raw: string, level: number, after: number, node: Node | null}} Block  `level`: heading level before it */

/** One text that grows; the container must be its own. */
export class MarkdownStream {
  #text = "";
  /** Characters whose blocks will not change by more text. */
  #settled = 0;
  #settledBlocks = 0;
  /** @type {Block[]} */
  #blocks = [];
  #frame = 0;
  /** A carriage return at the end of the last piece: half of a line end, perhaps. */
  #half = false;

  /** @param {HTMLElement} container @param {() => void} [painted] called after each change of the DOM */
  constructor(container, painted = () => {}) {
    this.container = container;
    this.painted = painted;
  }

  /** More text; shown at the next animation frame. @param {string} delta */
  append(delta) {
    const text = (this.#half ? "\r" : "") + delta;
    this.#half = text.endsWith("\r");
    this.#text += lines(this.#half ? text.slice(0, -1) : text);
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.flush());
  }

  /** Show what has come so far, now. */
  flush() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const tokens = lexer(this.#text.slice(this.#settled));
    this.#show(tokens, this.#settledBlocks, false);
    this.#settle(tokens);
    this.painted();
  }

  /** The text is whole: read it as one, so that references given at its end count too. @param {string} [text] */
  set(text = this.#text) {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#text = lines(text);
    this.#half = false;
    const tokens = lexer(this.#text);
    this.#show(tokens, 0, Object.keys(tokens.links).length > 0);
    this.#settled = this.#text.length;
    this.#settledBlocks = this.#blocks.length;
    this.painted();
  }

  /** The message is complete. */
  end() {
    this.set(this.#text);
  }

  /** Take the text back to a shorter or other one and go on from there. @param {string} text */
  restart(text) {
    this.#settled = 0;
    this.#settledBlocks = 0;
    this.#text = lines(text);
    this.#half = false;
    this.flush();
  }

  stop() {
    cancelAnimationFrame(this.#frame);
  }

  /**
   * Make the DOM equal to `tokens` from block number `from` on; equal blocks keep their nodes.
   * @param {Token[]} tokens @param {number} from @param {boolean} all build every block anew
   */
  #show(tokens, from, all) {
    let same = !all;
    const context = { heading: from ? this.#blocks[from - 1].after : TOP_HEADING - 1 };
    tokens.forEach((token, i) => {
      const old = this.#blocks[from + i];
      same &&= !!old && old.raw === token.raw && old.level === context.heading;
      if (same) {
        context.heading = old.after;
        return;
      }
      const level = context.heading;
      const made = block(token, context);
      const node = typeof made === "string" ? document.createTextNode(made) : made;
      if (old?.node && node) old.node.parentNode?.replaceChild(node, old.node);
      else if (node) this.container.insertBefore(node, this.#nextNode(from + i));
      else old?.node?.parentNode?.removeChild(old.node);
      this.#blocks[from + i] = { raw: token.raw, level, after: context.heading, node };
      same = !all;
    });
    for (const gone of this.#blocks.splice(from + tokens.length)) gone.node?.parentNode?.removeChild(gone.node);
  }

  /** @param {number} after index of a block @returns {Node | null} */
  #nextNode(after) {
    for (let i = after + 1; i < this.#blocks.length; i += 1) if (this.#blocks[i]?.node) return this.#blocks[i].node;
    return null;
  }

  /** @param {Token[]} tokens the tail's */
  #settle(tokens) {
    let visible = 0;
    let keep = tokens.length;
    while (keep > 0 && visible < UNSETTLED) {
      keep -= 1;
      if (tokens[keep].type !== "space") visible += 1;
    }
    if (visible < UNSETTLED) return;
    for (const token of tokens.slice(0, keep)) this.#settled += token.raw.length;
    this.#settledBlocks += keep;
  }
}
