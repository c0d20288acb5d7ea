/** Copying to the clipboard, on plain http too. Used by code.js, results.js and message.js. */

/** @param {string} text @param {HTMLElement} button says that it worked, for a moment */
export async function copyText(text, button) {
  const worked = await write(text);
  const before = button.dataset.label ?? button.textContent ?? "";
  button.dataset.label = before;
  button.textContent = worked ? "Copied" : "Select and press Ctrl+C";
  setTimeout(() => {
    button.textContent = before;
  }, 1_500);
}

/** @param {string} text */
async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return fallback(text);
  }
}

/** The clipboard API exists only in secure contexts. @param {string} text */
function fallback(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "offscreen";
  document.body.append(area);
  area.select();
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    area.remove();
  }
}
