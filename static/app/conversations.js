/** The list of conversations: open, new, rename, delete, export. Used by main.js. */

import { html, useRef, useState } from "../vendor/preact.js";
import { confirmDialog } from "./dialog.js";
import { ago } from "./format.js";
import { Icon } from "./icons.js";
import {
  current,
  deleteConversation,
  entries,
  exportConversation,
  newConversation,
  openConversation,
  openPlan,
  renameConversation,
  view,
} from "./store.js";
import { complain } from "./voice.js";

/** @param {{picked: () => void}} props called when something was chosen (closes the drawer on phones) */
export function Conversations({ picked }) {
  const [renaming, setRenaming] = useState("");
  const shown = openPlan.value || view.value !== "chat" ? null : current.value.id.value;
  return html`<nav aria-label="Conversations">
    <button type="button" class="new" onClick=${() => (newConversation(), picked())}><${Icon} name="plus" />New conversation</button>
    <h2>Conversations</h2>
    ${!entries.value.length && html`<p class="small muted pad">They appear here as soon as you ask something.</p>`}
    <ul class="conversations">
      ${entries.value.map(
        (entry) => html`<li key=${entry.conversation_id} class=${entry.conversation_id === shown ? "shown" : ""}>
          ${
            renaming === entry.conversation_id
              ? html`<${Rename} entry=${entry} done=${() => setRenaming("")} />`
              : html`<${Entry} entry=${entry} shown=${entry.conversation_id === shown} picked=${picked} rename=${() => setRenaming(entry.conversation_id)} />`
          }
        </li>`,
      )}
    </ul>
  </nav>`;
}

/** @param {{entry: import("./store.js").Entry, shown: boolean, picked: () => void, rename: () => void}} props */
function Entry({ entry, shown, picked, rename }) {
  const id = entry.conversation_id;
  const remove = async () => {
    const sure = await confirmDialog(
      "Delete this conversation?",
      `“${entry.title}” is deleted for good. The audit log keeps what was done.`,
      "Delete",
    );
    if (sure) deleteConversation(id).catch(complain);
  };
  return html`<button type="button" class="entry" aria-current=${shown ? "page" : undefined} onClick=${() => (openConversation(id), picked())}>
      <span class="title">${entry.title || "Untitled"}</span>
      <span class="when">${ago(entry.updated_at)}</span>
    </button>
    ${
      shown &&
      html`<div class="tools">
      <button type="button" class="quiet icon-only" aria-label="Rename" title="Rename" onClick=${rename}><${Icon} name="edit" /></button>
      <button type="button" class="quiet icon-only" aria-label="Export" title="Export" onClick=${() => save(id).catch(complain)}><${Icon} name="save" /></button>
      <button type="button" class="quiet icon-only" aria-label="Delete" title="Delete" onClick=${remove}><${Icon} name="trash" /></button>
    </div>`
    }`;
}

/** @param {{entry: import("./store.js").Entry, done: () => void}} props */
function Rename({ entry, done }) {
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const title = field.current?.value.trim();
    if (title && title !== entry.title) await renameConversation(entry.conversation_id, title).catch(complain);
    done();
  };
  const keyed = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape") done();
  };
  return html`<form class="rename" onSubmit=${submit}>
    <input ref=${field} aria-label="New title" defaultValue=${entry.title} maxlength="120" autofocus onKeyDown=${keyed} />
    <button type="submit" class="quiet icon-only" aria-label="Save title"><${Icon} name="check" /></button>
  </form>`;
}

/** @param {string} id */
async function save(id) {
  const data = await exportConversation(id);
  const [text, type, ending] = data.markdown
    ? [data.markdown, "text/markdown", "md"]
    : [JSON.stringify(data, null, 2), "application/json", "json"];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = `${(data.title ?? "conversation").replace(/[^\w-]+/g, "-").slice(0, 60)}.${ending}`;
  link.click();
  URL.revokeObjectURL(link.href);
}
