/** The page: login or dashboard. Loaded by index.html. */

import { effect, html, render, untracked, useState } from "../vendor/preact.js";
import { logout, resumeSession, session } from "./auth.js";
import { Chat } from "./chat.js";
import { compose, draft } from "./composer.js";
import { Conversations } from "./conversations.js";
import { Question } from "./dialog.js";
import { Icon, Mark } from "./icons.js";
import { IntentsBrowser } from "./intents-browser.js";
import { KeysHelp, useKeys } from "./keys.js";
import { Login } from "./login.js";
import { Notices } from "./notices.js";
import { Rail } from "./rail.js";
import { cards, connection, current, openPlan, start, stop, view, waitingPlans } from "./store.js";
import { HoldBanner, StopAll } from "./stop-all.js";
import { ThemeButton } from "./theme.js";
import { ViewLinks, viewTitle } from "./views.js";

const STATES = { connecting: "Connecting…", online: "Connected", offline: "Connection lost. Trying again…" };

function Panel() {
  const [drawer, setDrawer] = useState(/** @type {"" | "left" | "right"} */ (""));
  const [dialog, setDialog] = useState(/** @type {"" | "keys" | "intents"} */ (""));
  const close = () => setDrawer("");
  useKeys({
    help: () => setDialog("keys"),
    browse: () => setDialog("intents"),
    focus: () => compose(draft.peek()),
  });
  const toggle = (/** @type {"left" | "right"} */ side) => () => setDrawer(drawer === side ? "" : side);
  const news = waitingPlans.value.length + cards.value.length;
  const chat = view.value === "chat" && !openPlan.value;
  return html`<a class="skip" href=${chat ? "#prompt" : "#main"} onClick=${skip}>${chat ? "Skip to the request field" : "Skip to the content"}</a>
    <div class="page drawer-${drawer || "none"}">
      <aside class="left" aria-label="Navigation">
        <div class="brand"><${Mark} /><h1>llmcore</h1></div>
        <${Conversations} picked=${close} />
        <div class="more"><${ViewLinks} picked=${close} /><${StopAll} /></div>
        <div class="account">
          <span class="grow name" title=${session.value?.user}>${session.value?.user}</span>
          <${ThemeButton} />
          <button type="button" class="quiet icon-only" aria-label="Keys" title="Keys (?)" onClick=${() => setDialog("keys")}><${Icon} name="keys" /></button>
          <button type="button" class="quiet icon-only" aria-label="Log out" title="Log out" onClick=${() => logout()}><${Icon} name="leave" /></button>
        </div>
      </aside>
      <main id="main" tabindex="-1">
        <header class="top">
          <button type="button" class="quiet icon-only narrow" aria-label="Conversations" aria-expanded=${drawer === "left"} onClick=${toggle("left")}><${Icon} name="menu" /></button>
          <h2 class="grow">${title()}</h2>
          <span class="connection ${connection.value}" role="status"><span class="lamp"></span><span class="words">${STATES[connection.value]}</span></span>
          <button type="button" class="quiet" aria-label="What can be done" onClick=${() => setDialog("intents")}><${Icon} name="grid" /><span class="wide-only">What can be done</span></button>
          <button type="button" class="quiet icon-only medium" aria-label=${news ? `Overview, ${news} new` : "Overview"} aria-expanded=${drawer === "right"} onClick=${toggle("right")}>
            <${Icon} name="side" />${news > 0 && html`<span class="count">${news}</span>`}
          </button>
        </header>
        <${HoldBanner} />
        <${Chat} />
      </main>
      <aside class="right" aria-label="Overview"><${Rail} picked=${close} /></aside>
      ${drawer && html`<button type="button" class="shade" aria-label="Close the side panel" onClick=${close}></button>`}
    </div>
    <${Notices} />
    <${Question} />
    ${dialog === "keys" && html`<${KeysHelp} close=${() => setDialog("")} />`}
    ${dialog === "intents" && html`<${IntentsBrowser} close=${() => setDialog("")} />`}`;
}

/** What is shown. */
function title() {
  return viewTitle() || (openPlan.value ? "Plan" : current.value.title.value || "New conversation");
}

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  (document.getElementById("prompt") ?? document.getElementById("main"))?.focus();
}

function App() {
  return session.value ? html`<${Panel} key=${session.value.user} />` : html`<${Login} />`;
}

let connected = "";
effect(() => {
  const user = session.value?.user ?? "";
  if (user === connected) return;
  connected = user;
  untracked(() => {
    stop();
    if (user) start();
  });
});
resumeSession();
render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
