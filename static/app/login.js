/** The login form. Used by main.js. */

import { html, useRef, useState } from "../vendor/preact.js";
import { login } from "./auth.js";
import { Icon, Mark } from "./icons.js";
import { ThemeButton } from "./theme.js";

export function Login() {
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const data = new FormData(/** @type {HTMLFormElement} */ (form.current));
    setBusy(true);
    setProblem("");
    try {
      await login(String(data.get("username")).trim(), String(data.get("password")));
    } catch (error) {
      setProblem(/** @type {Error} */ (error).message);
      setBusy(false);
    }
  };
  return html`<main class="login">
    <div class="corner"><${ThemeButton} /></div>
    <form ref=${form} onSubmit=${submit}>
      <${Mark} />
      <h1>llmcore</h1>
      <p class="muted">Tell your infrastructure what you want. It shows the plan, you decide.</p>
      <label>User name <input name="username" autocomplete="username" autocapitalize="none" spellcheck=${false} required autofocus /></label>
      <label>Password <input name="password" type="password" autocomplete="current-password" required /></label>
      ${problem && html`<p class="banner error" role="alert"><${Icon} name="warning" /><span>${problem}</span></p>`}
      <button type="submit" class="primary" disabled=${busy}>${busy ? "Logging in…" : "Log in"}</button>
      <details class="small muted"><summary>First start?</summary>
        <p>The server printed the password of <code>administrator</code> once, when it was started for the first time. A new one:
          <code>llmcore user passwd administrator</code>.</p>
      </details>
    </form>
  </main>`;
}
