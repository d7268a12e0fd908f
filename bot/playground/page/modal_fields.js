/*
 * The fields that a modal may hold: text, choices, people and channels, ticks, files.
 *
 * Promise: each field gives `{id, customId, node, error, value(), focus(), check()}`; `check()` shows
 * what is wrong under the field and answers whether all is well.
 */

import { el, icon, safeUrl, spinner } from "./dom.js";
import { fileSize } from "./media.js";
import { SelectMenu } from "./select.js";

const PARAGRAPH = 2;
const RADIOS = 21;
const LONG = 500;
let count = 0;

/** The field for a component, or null for a type that this page does not know. */
export function modalField(part, label, context) {
  const makers = {
    3: choiceField,
    4: textField,
    5: choiceField,
    6: choiceField,
    7: choiceField,
    8: choiceField,
    19: fileField,
    21: groupField,
    22: groupField,
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
  const options = [5, 6, 7, 8].includes(part.type) ? context.entityOptions(part.type) : part.options;
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

/** One of several (its value is a word) or some of several (a list). */
function groupField(part, label) {
  const id = nextId();
  const one = part.type === RADIOS;
  const boxes = part.options.map((option, index) => {
    const input = el("input", { id: index ? null : id, type: one ? "radio" : "checkbox", name: id, value: option.value, class: "tick-field" });
    input.checked = Boolean(option.default);
    return input;
  });
  const rows = part.options.map((option, index) => {
    const words = el("span", { class: "row-words" }, el("span", { text: option.label }), option.description ? el("span", { class: "row-detail", text: option.description }) : null);
    return el("label", { class: "tick-row" }, boxes[index], words);
  });
  const node = el("div", { class: "tick-rows", role: one ? "radiogroup" : "group", "aria-label": label }, rows);
  const { line, say } = errorLine(node);
  node.addEventListener("change", () => say(""));
  const chosen = () => boxes.filter((box) => box.checked).map((box) => box.value);
  const needed = part.required !== false;
  const least = one ? Number(needed) : (part.min_values ?? Number(needed));
  const most = one ? 1 : (part.max_values ?? boxes.length);
  const problem = () => {
    const count = chosen().length;
    if (count < least && (count || needed)) return `Choose at least ${least}.`;
    return count > most ? `Choose at most ${most}.` : "";
  };
  return {
    id,
    customId: part.custom_id,
    node,
    error: line,
    value: () => (one ? (chosen()[0] ?? null) : chosen()),
    focus: () => (boxes.find((box) => box.checked) ?? boxes[0]).focus(),
    check: () => say(problem()),
  };
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

/** Files, uploaded as soon as they are chosen or dropped. */
function fileField(part, label, context) {
  const id = nextId();
  const most = part.max_values ?? 1;
  const least = part.required === false ? 0 : Math.max(1, part.min_values ?? 1);
  let uploads = [];
  let busy = false;
  const input = el("input", { id, type: "file", class: "file-input", multiple: most > 1 });
  const face = el("span", { class: "drop-face" });
  const node = el("label", { class: "drop" }, input, face);
  const { line, say } = errorLine(input);
  const draw = (...parts) => face.replaceChildren(...parts);
  const invite = () => draw(icon("plus"), el("span", { text: most > 1 ? `Choose up to ${most} files` : "Choose a file" }));
  const take = async (files) => {
    const chosen = [...files].slice(0, most);
    busy = true;
    uploads = [];
    say("");
    draw(spinner(), el("span", { text: `Uploading ${chosen.map((file) => file.name).join(", ")}` }));
    try {
      uploads = await Promise.all(chosen.map((file) => context.upload(file)));
      draw(...uploads.map(uploaded));
    } catch (error) {
      invite();
      say(error.message);
    }
    busy = false;
  };
  input.addEventListener("change", () => input.files.length && take(input.files));
  node.addEventListener("dragover", (event) => event.preventDefault());
  node.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) take(event.dataTransfer.files);
  });
  invite();
  const problem = () => (busy ? "The file is still on its way." : uploads.length < least ? "Choose a file." : "");
  return {
    id,
    customId: part.custom_id,
    node,
    error: line,
    value: () => uploads.map((file) => file.id),
    focus: () => input.focus(),
    check: () => say(problem()),
  };
}

function uploaded(file) {
  const url = file.width ? safeUrl(file.url) : null;
  const face = url ? el("img", { src: url, alt: "", width: 40, height: 40 }) : icon("file");
  return el("span", { class: "uploaded" }, face, el("span", { text: `${file.filename} · ${fileSize(file.size)}` }));
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
