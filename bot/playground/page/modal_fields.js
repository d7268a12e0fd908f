/*
 * The fields that a modal may hold: text, choices, people and channels, ticks, files.
 *
 * Promise: each field gives `{id, customId, node, error, value(), focus(), check()}`; `check()` shows
 * what is wrong under the field and answers whether all is well.
 */

import { el } from "./dom.js";
import { SelectMenu } from "./select.js";

const PARAGRAPH = 2;
const LONG = 500;
let count = 0;

/** The field for a component, or null for a type that this page does not know. */
export function modalField(part, label, context) {
  const makers = {
    3: choiceField,
    4: textField,
    5: choiceField,
    7: choiceField,
    8: choiceField,
    19: fileField,
    21: radioField,
    22: choiceField,
    23: tickField,
  };
  return makers[part.type]?.(part, label, context) ?? null;
}

function textField(part, label) {
  const id = nextId();
  const paragraph = part.style === PARAGRAPH;
  const most = part.max_length ?? 4000;
  const input = el(paragraph ? "textarea" : "input", { id, placeholder: part.placeholder, rows: paragraph ? 4 : null, autocomplete: "off" });
  input.value = part.value ?? "";
  const counter = el("span", { class: "counter", "aria-hidden": "true" });
  const { line, say } = errorLine(input);
  const tally = () => {
    counter.textContent = `${[...input.value].length} / ${most}`;
    counter.hidden = most > LONG && input.value.length < most * 0.8;
    say("");
  };
  input.addEventListener("input", tally);
  tally();
  return {
    id,
    customId: part.custom_id,
    node: el("div", { class: "text-field" }, input, counter),
    error: line,
    value: () => input.value,
    focus: () => input.focus(),
    check: () => say(textProblem(input.value, part, label, most)),
  };
}

function textProblem(value, part, label, most) {
  const length = [...value].length;
  const least = part.min_length ?? 0;
  if (!length) return part.required === false ? "" : `${label || "This"} is needed.`;
  if (length < least) return `At least ${least} characters; these are ${length}.`;
  return length > most ? `At most ${most} characters; these are ${length}.` : "";
}

function choiceField(part, label, context) {
  const id = nextId();
  const options = [5, 7, 8].includes(part.type) ? context.entityOptions(part.type) : part.options;
  const menu = new SelectMenu({ ...part, options }, { onChoose: () => say(""), label });
  menu.opener.id = id;
  const { line, say } = errorLine(menu.opener);
  const least = part.required === false ? 0 : Math.max(1, part.min_values ?? 1);
  return {
    id,
    customId: part.custom_id,
    node: menu.node,
    error: line,
    value: () => menu.values(),
    focus: () => menu.opener.focus(),
    check: () => say(menu.values().length < least ? `Choose at least ${least}.` : ""),
  };
}

/** One of several, as a menu; its value is a word, not a list. */
function radioField(part, label, context) {
  const field = choiceField({ ...part, min_values: 1, max_values: 1 }, label, context);
  return { ...field, value: () => field.value()[0] ?? null };
}

function tickField(part, label) {
  const id = nextId();
  const input = el("input", { id, type: "checkbox", class: "tick-field" });
  input.checked = Boolean(part.default);
  const { line, say } = errorLine(input);
  const node = el("div", {}, input);
  input.setAttribute("aria-label", label);
  return { id, customId: part.custom_id, node, error: line, value: () => input.checked, focus: () => input.focus(), check: () => say("") };
}

function fileField(part, label, context) {
  const id = nextId();
  let uploads = [];
  const input = el("input", { id, type: "file", multiple: (part.max_values ?? 1) > 1 });
  const { line, say } = errorLine(input);
  let busy = false;
  input.addEventListener("change", async () => {
    busy = true;
    say("");
    try {
      uploads = await Promise.all([...input.files].slice(0, part.max_values ?? 1).map((file) => context.upload(file)));
    } catch (error) {
      uploads = [];
      say(error.message);
    }
    busy = false;
  });
  const least = part.required === false ? 0 : Math.max(1, part.min_values ?? 1);
  const problem = () => (busy ? "The file is still on its way." : uploads.length < least ? "Choose a file." : "");
  return {
    id,
    customId: part.custom_id,
    node: el("div", { class: "text-field" }, input),
    error: line,
    value: () => uploads.map((file) => file.id),
    focus: () => input.focus(),
    check: () => say(problem()),
  };
}

const nextId = () => `field-${(count += 1)}`;

/** A line for what is wrong with a control; saying nothing means that all is well. */
function errorLine(control) {
  const id = `error-${(count += 1)}`;
  const line = el("p", { class: "field-error", id, role: "alert", hidden: true });
  const say = (text) => {
    line.textContent = text;
    line.hidden = !text;
    control.setAttribute("aria-invalid", String(Boolean(text)));
    control.setAttribute("aria-describedby", id);
    return !text;
  };
  return { line, say };
}
