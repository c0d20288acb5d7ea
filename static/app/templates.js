/**
 * Saved plans: look at them, run one with other values, delete it. Used by views.js.
 *
 * A run makes a plan, which is judged and decided on like every other.
 */

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { confirmDialog } from "./dialog.js";
import { ago, plural, visible } from "./format.js";
import { Icon } from "./icons.js";
import { Input, fieldsOf, goToWrong, readFields } from "./param-fields.js";
import { Graph, isBranched } from "./plan-graph.js";
import { StepBody } from "./plan-step.js";
import { mayApprove, person, planCall, rpc, showPlanAlone } from "./store.js";
import { complain, say } from "./voice.js";

export function Templates() {
  const [templates, setTemplates] = useState(/** @type {any[] | null} */ (null));
  const [failure, setFailure] = useState("");
  const [open, setOpen] = useState("");
  const load = () =>
    rpc("template_list").then(
      (data) => setTemplates(data.templates),
      (error) => setFailure(error.message),
    );
  useEffect(() => void load(), []);
  const gone = (/** @type {string} */ name) => {
    say(`Template ${name} deleted.`);
    load();
  };
  if (failure) return html`<p class="banner error" role="alert"><span>${visible(failure)}</span></p>`;
  if (!templates) return html`<p class="muted">Loading…</p>`;
  return html`<p class="muted small">A template is a plan with params. “Save as template” on a finished plan makes one. Running it makes a
      plan that is decided on like every other.</p>
    ${!templates.length && html`<p class="muted">There is none yet.</p>`}
    <ul class="entries">
      ${templates.map(
        (one) => html`<li key=${one.name}>
          <${Template} template=${one} open=${open === one.name} toggle=${() => setOpen(open === one.name ? "" : one.name)} gone=${gone} />
        </li>`,
      )}
    </ul>`;
}

/** @param {{template: any, open: boolean, toggle: () => void, gone: (name: string) => void}} props */
function Template({ template, open, toggle, gone }) {
  const { name, title, description, owner, updated_at, tainted } = template;
  const names = Object.keys(template.params ?? {});
  return html`<article class="entry-card" data-template=${name} aria-labelledby="template-${name}">
    <header>
      <div class="grow">
        <h3 id="template-${name}">${visible(title || name)}</h3>
        <p class="small muted"><code>${visible(name)}</code> · ${owner ? `by ${visible(owner)}, ${ago(updated_at)}` : "comes with llmcore"}
          ${names.length > 0 && ` · ${plural(names.length, "param")}: ${names.join(", ")}`}</p>
      </div>
      <button type="button" aria-expanded=${open} aria-label="${open ? "Close" : "Open"} ${name}" onClick=${toggle}>${open ? "Close" : "Open"}</button>
    </header>
    ${description && html`<p class="small">${visible(description)}</p>`}
    ${tainted && html`<p class="banner warning"><${Icon} name="warning" /><span>Saved from a plan that untrusted words took part in; so are the plans made of it.</span></p>`}
    ${open && html`<${Opened} name=${name} gone=${gone} />`}
  </article>`;
}

/** @param {{name: string, gone: (name: string) => void}} props */
function Opened({ name, gone }) {
  const [template, setTemplate] = useState(/** @type {any} */ (null));
  useEffect(() => {
    rpc("template_get", { name }).then((data) => setTemplate(data.template), complain);
  }, [name]);
  if (!template) return html`<p class="muted">Loading…</p>`;
  const steps = template.steps;
  const user = person.value;
  const mayDelete = template.owner && (user.role === "admin" || template.owner === user.name);
  const remove = async () => {
    const sure = await confirmDialog(
      "Delete this template?",
      `“${name}” is deleted for good. Plans made of it stay.`,
      "Delete",
    );
    if (sure) await rpc("template_delete", { name }).then(() => gone(name), complain);
  };
  return html`${template.examples?.length > 0 && html`<p class="small"><span class="muted">In chat:</span> ${template.examples.map((/** @type {string} */ text) => html`<q>${visible(text)}</q> `)}</p>`}
    <${RunForm} template=${template} />
    ${isBranched(steps) && html`<${Graph} steps=${steps} />`}
    <ol class="steps">${steps.map(
      (/** @type {any} */ step) => html`<li class="step">
        <div class="step-head"><code class="intent">${visible(step.intent)}</code></div>
        <${StepBody} step=${step} />
      </li>`,
    )}</ol>
    ${mayDelete && html`<div class="actions"><button type="button" class="quiet" onClick=${remove}><${Icon} name="trash" />Delete template</button></div>`}`;
}

/** @param {{template: any}} props */
function RunForm({ template }) {
  const [errors, setErrors] = useState(/** @type {Record<string, string>} */ ({}));
  const [busy, setBusy] = useState(false);
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  useEffect(() => goToWrong(form.current), [errors]);
  /** @type {Record<string, any>} */
  const schemas = template.params ?? {};
  const defaults = Object.fromEntries(
    Object.entries(schemas)
      .filter(([, one]) => "default" in one)
      .map(([name, one]) => [name, one.default]),
  );
  const required = Object.keys(schemas).filter((name) => !(name in defaults));
  const fields = fieldsOf({}, { properties: schemas, required });
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const { params, problems } = readFields(
      new FormData(/** @type {HTMLFormElement} */ (form.current)),
      "",
      fields,
      defaults,
    );
    setErrors(Object.fromEntries(problems.map((one) => [one.name, one.message])));
    if (problems.length || busy) return;
    setBusy(true);
    try {
      const { plan } = await planCall("template_run", { name: template.name, params });
      say("The plan is made. Read it, then decide.");
      showPlanAlone(plan);
    } catch (error) {
      const { data, message } = /** @type {any} */ (error);
      const found = (data?.fields ?? []).map((/** @type {any} */ one) => [
        one.pointer.replace(/^\/params\/?/, ""),
        one.message,
      ]);
      const known = found.filter(([name]) => name in schemas);
      setErrors(known.length ? Object.fromEntries(known) : { "": message });
      setBusy(false);
    }
  };
  return html`<form class="run-form" ref=${form} onSubmit=${submit} noValidate aria-label="Run ${template.name}">
    ${fields.map((field) => html`<${Input} key=${field.name} prefix="" field=${field} value=${defaults[field.name]} error=${errors[field.name]} />`)}
    ${errors[""] && html`<p class="banner error" role="alert"><span>${visible(errors[""])}</span></p>`}
    <div class="actions">
      <button type="submit" class="primary" disabled=${busy || !mayApprove.value}><${Icon} name="check" />Make the plan</button>
    </div>
  </form>`;
}
