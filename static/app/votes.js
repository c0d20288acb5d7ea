/** Who has approved a plan, with what words, and how many more it needs. Used by decision.js and aftermath.js. */

import { html } from "../vendor/preact.js";
import { ago, plural, visible } from "./format.js";
import { approvalsLeft, isOpen } from "./plan-rules.js";

/** @param {any} approval */
function stillNeeded(approval) {
  const roles = approval.roles?.length ? ` of ${approval.roles.join(" or ")}` : "";
  const others = approval.excludes_requester ? ", not of the requester" : "";
  return `${roles}${others}`;
}

/** @param {{plan: any}} props */
export function Votes({ plan }) {
  const { approval } = plan;
  const given = approval?.given ?? [];
  const asks = isOpen(plan) && approval?.needed > 0;
  if (!given.length && !asks) return null;
  const left = Math.max(approvalsLeft(plan), 0);
  return html`<div class="votes">
    ${asks && html`<p><b>${given.length} of ${plural(approval.needed, "approval")}</b>${left > 0 ? html`<span class="muted">${`, ${left} more needed`}${stillNeeded(approval)}</span>` : ""}</p>`}
    ${
      given.length > 0 &&
      html`<ul>${given.map(
        (/** @type {any} */ vote) => html`<li>
          ${vote.break_glass ? html`<b class="broken">Glass broken by ${visible(vote.by)}</b>` : `Approved by ${visible(vote.by)}`}
          <span class="muted"> ${ago(vote.at)}</span>${vote.comment && html`<q>${visible(vote.comment)}</q>`}
        </li>`,
      )}</ul>`
    }
  </div>`;
}
