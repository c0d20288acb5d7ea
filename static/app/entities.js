/**
 * Character references of HTML in Markdown text; unknown ones stay as they are written.
 *
 * Used by markdown.js. A browser would decode them only by way of an HTML string, which the panel never makes.
 */

const NAMED = {
  amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", reg: "®", trade: "™", hellip: "…",
  ndash: "–", mdash: "—", lsquo: "‘", rsquo: "’", ldquo: "“", rdquo: "”", laquo: "«", raquo: "»", bull: "•",
  middot: "·", deg: "°", plusmn: "±", times: "×", divide: "÷", micro: "µ", para: "¶", sect: "§", euro: "€",
  pound: "£", yen: "¥", cent: "¢", larr: "←", uarr: "↑", rarr: "→", darr: "↓", harr: "↔", rArr: "⇒", hArr: "⇔",
  le: "≤", ge: "≥", ne: "≠", asymp: "≈", equiv: "≡", infin: "∞", sum: "∑", radic: "√", half: "½", frac12: "½",
  frac14: "¼", frac34: "¾", sup1: "¹", sup2: "²", sup3: "³", check: "✓", cross: "✗", ensp: "\u2002", emsp: "\u2003",
  thinsp: "\u2009", zwnj: "\u200c", zwj: "\u200d", shy: "\u00ad", szlig: "ß", auml: "ä", ouml: "ö", uuml: "ü",
  Auml: "Ä", Ouml: "Ö", Uuml: "Ü", eacute: "é", egrave: "è", agrave: "à", ccedil: "ç", ntilde: "ñ", aring: "å",
  oslash: "ø", aelig: "æ", alpha: "α", beta: "β", gamma: "γ", delta: "δ", lambda: "λ", mu: "μ", pi: "π",
  sigma: "σ", omega: "ω", Delta: "Δ", Omega: "Ω", Sigma: "Σ", excl: "!", num: "#", dollar: "$", percnt: "%",
  lpar: "(", rpar: ")", ast: "*", plus: "+", comma: ",", period: ".", sol: "/", colon: ":", semi: ";", equals: "=",
  quest: "?", commat: "@", lsqb: "[", bsol: "\\", rsqb: "]", Hat: "^", lowbar: "_", grave: "`", lcub: "{",
  vert: "|", rcub: "}", tab: "\t", newline: "\n", Tab: "\t", NewLine: "\n",
};

/** @param {string} digits @param {number} base @param {string} whole */
function numeric(digits, base, whole) {
  const code = Number.parseInt(digits, base);
  if (code === 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return "\ufffd";
  return Number.isNaN(code) ? whole : String.fromCodePoint(code);
}

/** @param {string} text */
export function decodeEntities(text) {
  if (!text.includes("&")) return text;
  return text.replace(/&(?:#x([\da-f]{1,6})|#(\d{1,7})|([a-z][a-z\d]*));/gi, (whole, hex, decimal, name) => {
    if (hex) return numeric(hex, 16, whole);
    if (decimal) return numeric(decimal, 10, whole);
    return Object.hasOwn(NAMED, name) ? NAMED[/** @type {keyof typeof NAMED} */ (name)] : whole;
  });
}
