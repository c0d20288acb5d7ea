/**
 * Editing a waiting plan: params as fields or JSON, rules, order, steps taken out and put in.
 *
 * What is saved goes to the server as steps; it checks them and answers with a new digest, or with what is wrong at which
 * field. Used by decision.js.
 */

import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact.js";
import { plural, visible } from "./format.js";
import { Icon } from "./icons.js";
import { Input, Labelled, fieldsOf, goToWrong, parsed, readFields } from "./param-fields.js";
import { lookAt } from "./scroll.js";
import { AddStep, StepRules, readRules } from "./step-rules.js";
import { intents, planCall } from "./store.js";
import { say } from "./voice.js";

/** @typedef {{key: string, step: any, json: boolean}} Draft  one step as it is being edited; params as JSON or fields */
/** @typedef {Record<string, string>} Errors  by the name of the field */

/** @param {any} step as the wire takes it */
function wireStep({ id, intent, params, needs, when, on_error, retries, timeout_s }) {
  return { id, intent, params, needs, when, on_error, retries, timeout_s };
}

/** @param {any} step */
const schemaOf = (step) => intents.value.find((one) => one.name === step.intent)?.schema ?? {};

/** @param {FormData} form @param {Draft} draft @returns {{params: any, problems: import("./param-fields.js").Problem[]}} */
function readParams(form, { key, step, json }) {
  if (!json) return readFields(form, `${key}.`, fieldsOf(step.params, schemaOf(step)), step.params);
  const name = `${key}.params`;
  try {
    return { params: parsed(String(form.get(name) ?? "")), problems: [] };
  } catch (error) {
    return { params: step.params, problems: [{ name, message: /** @type {Error} */ (error).message }] };
  }
}

/**
 * The steps that a form says, and what cannot be read.
 * @param {FormData} form @param {Draft[]} drafts
 */
function readSteps(form, drafts) {
  /** @type {Errors} */
  const errors = {};
  const steps = drafts.map((draft) => {
    const { params, problems } = readParams(form, draft);
    const rules = readRules(form, draft.key, draft.step);
    for (const problem of [...problems, ...rules.problems]) errors[problem.name] = problem.message;
    return wireStep({ ...draft.step, ...rules.values, params });
  });
  return { steps, errors };
}

/** What the server found wrong, by the name of the field; under "" what belongs to none. @param {any} error @param {Draft[]} drafts @returns {Errors} */
function errorsOf(error, drafts) {
  /** @type {Errors} */
  const found = {};
  for (const { pointer, message } of error.data?.fields ?? []) {
    const [, , number, part, name] = pointer
      .split("/")
      .map((/** @type {string} */ key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
    const draft = drafts[Number(number)];
    const inside = part === "params" && !draft?.json && name !== undefined ? name : part;
    const field = draft && part ? `${draft.key}.${inside}` : "";
    found[field] = [found[field], field ? message : `${pointer} ${message}`].filter(Boolean).join("; ");
  }
  if (!Object.keys(found).length || error.code !== "bad_params") found[""] = error.message;
  return found;
}

/** @param {{plan: any, saved: () => void, cancel: () => void}} props */
export function PlanEditor({ plan, saved, cancel }) {
  const [drafts, setDrafts] = useState(() =>
    plan.steps.map(
      (/** @type {any} */ step) => /** @type {Draft} */ ({ key: step.id, step: wireStep(step), json: false }),
    ),
  );
  const [errors, setErrors] = useState(/** @type {Errors} */ ({}));
  const [busy, setBusy] = useState(false);
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  const wanted = useRef("");
  useEffect(() => {
    /** @type {HTMLElement | null | undefined} */ (form.current?.querySelector("input, select, textarea"))?.focus({
      preventScroll: true,
    });
    if (form.current) lookAt(form.current);
  }, []);
  useEffect(() => goToWrong(form.current), [errors]);
  useLayoutEffect(() => {
    if (!wanted.current) return;
    const goal =
      form.current?.querySelector(`${wanted.current}:not(:disabled)`) ??
      form.current?.querySelector(".add-step select");
    /** @type {HTMLElement | null | undefined} */ (goal)?.focus();
    wanted.current = "";
  }, [drafts]);
  const read = () => readSteps(new FormData(/** @type {HTMLFormElement} */ (form.current)), drafts);
  /** Change the list of steps, with what was typed so far. @param {(drafts: Draft[]) => Draft[]} how @param {string} focus selector */
  const rearrange = (how, focus) => {
    const { steps } = read();
    wanted.current = focus;
    setErrors({});
    setDrafts(how(drafts.map((/** @type {Draft} */ draft, /** @type {number} */ i) => ({ ...draft, step: steps[i] }))));
  };
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const said = read();
    setErrors(said.errors);
    if (Object.keys(said.errors).length || busy) return;
    setBusy(true);
    try {
      await planCall("plan_edit", { plan_id: plan.plan_id, steps: said.steps });
      saved();
    } catch (error) {
      setErrors(errorsOf(error, drafts));
      setBusy(false);
    }
  };
  return html`<form class="editor" ref=${form} onSubmit=${submit} noValidate aria-label="Edit the plan">
    ${drafts.map(
      (/** @type {Draft} */ draft, /** @type {number} */ i) =>
        html`<${DraftStep} key=${draft.key} draft=${draft} place=${i} count=${drafts.length} errors=${errors} rearrange=${rearrange} />`,
    )}
    <${AddStep} steps=${drafts.map((/** @type {Draft} */ draft) => draft.step)} add=${(/** @type {any} */ step) =>
      rearrange(
        (all) => [...all, { key: `new-${step.id}`, step, json: false }],
        `[data-draft="new-${step.id}"] :is(input, select, textarea)`,
      )} />
    ${errors[""] && html`<p class="banner error" role="alert"><span>${visible(errors[""])}</span></p>`}
    ${!errors[""] && Object.keys(errors).length > 0 && html`<p class="banner error" role="alert"><span>${plural(Object.keys(errors).length, "field")} to mend: ${visible(Object.values(errors).join("; "))}</span></p>`}
    <p class="small muted">Saving checks the steps, makes a new digest and drops approvals given.</p>
    <div class="actions">
      <button type="submit" class="primary" disabled=${busy}>Save changes</button>
      <button type="button" class="quiet" onClick=${cancel}>Back</button>
    </div>
  </form>`;
}

/** Without one step, and without waiting for it. @param {Draft[]} drafts @param {Draft} gone */
const without = (drafts, gone) =>
  drafts
    .filter((one) => one.key !== gone.key)
    .map((one) => ({
      ...one,
      step: { ...one.step, needs: one.step.needs.filter((/** @type {string} */ id) => id !== gone.step.id) },
    }));

/** @param {{draft: Draft, place: number, count: number, errors: Errors, rearrange: (how: (drafts: Draft[]) => Draft[], focus: string) => void}} props */
function DraftStep({ draft, place, count, errors, rearrange }) {
  const { key, step, json } = draft;
  const own = `[data-draft="${key}"]`;
  const move = (/** @type {number} */ by) => () => {
    const order = (/** @type {Draft[]} */ all) => {
      const others = all.filter((one) => one.key !== key);
      const moved = all.filter((one) => one.key === key);
      return [...others.slice(0, place + by), ...moved, ...others.slice(place + by)];
    };
    const last = place + by === 0 || place + by === count - 1;
    rearrange(order, `${own} [data-move="${last ? -by : by}"]`);
    say(`${step.id} is now step ${place + by + 1} of ${count}.`);
  };
  const remove = () => {
    rearrange((all) => without(all, draft), `[data-draft] [data-remove]`);
    say(`${step.id} removed.`);
  };
  const turn = () =>
    rearrange((all) => all.map((one) => (one.key === key ? { ...one, json: !json } : one)), `${own} [data-json]`);
  const fields = fieldsOf(step.params, schemaOf(step));
  return html`<fieldset data-draft=${key}>
    <legend>${visible(step.id)} <code>${visible(step.intent)}</code></legend>
    <div class="actions tools">
      <button type="button" class="quiet small" data-move="-1" disabled=${place === 0} aria-label="Move ${step.id} up" onClick=${move(-1)}>Up</button>
      <button type="button" class="quiet small" data-move="1" disabled=${place === count - 1} aria-label="Move ${step.id} down" onClick=${move(1)}>Down</button>
      <button type="button" class="quiet small" data-json aria-pressed=${json} aria-label="Params of ${step.id} as JSON" onClick=${turn}>JSON</button>
      <button type="button" class="quiet small" data-remove disabled=${count === 1} aria-label="Remove ${step.id}" onClick=${remove}><${Icon} name="trash" />Remove</button>
    </div>
    ${errors[`${key}.intent`] && html`<p class="field-error small">${visible(errors[`${key}.intent`])}</p>`}
    ${
      json
        ? html`<${JsonParams} name="${key}.params" params=${step.params} error=${errors[`${key}.params`]} />`
        : fields.map(
            (field) =>
              html`<${Input} key=${field.name} prefix="${key}." field=${field} value=${step.params[field.name]} error=${errors[`${key}.${field.name}`]} />`,
          )
    }
    ${!json && errors[`${key}.params`] && html`<p class="field-error small">${visible(errors[`${key}.params`])}</p>`}
    <${StepRules} prefix=${key} step=${step} errors=${errors} />
  </fieldset>`;
}

/** @param {{name: string, params: any, error?: string}} props */
function JsonParams({ name, params, error }) {
  const text = JSON.stringify(params, null, 2);
  const rows = Math.min(Math.max(text.split("\n").length + 1, 3), 18);
  return html`<${Labelled} name=${name} label="Params as JSON" error=${error}>
    ${(/** @type {any} */ props) => html`<textarea ...${props} rows=${rows} class="mono" spellcheck=${false} defaultValue=${text} />`}
  </${Labelled}>`;
}
