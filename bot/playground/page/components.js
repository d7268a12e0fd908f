/*
 * What can be pressed under a message: buttons, menus, and the newer layout components.
 *
 * Promise: a press shows a spinner until the server says how it ended, and one control cannot be
 * pressed twice meanwhile; the keyboard's focus survives an edit of the message.
 */

import { cssColour } from "./embeds.js";
import { el, icon, safeUrl, spinner } from "./dom.js";
import { emojiFace } from "./emoji.js";
import { markdown } from "./markdown.js";
import { Picture } from "./media.js";
import { SelectMenu } from "./select.js";

const STYLES = { 1: "primary", 2: "secondary", 3: "success", 4: "danger", 5: "link", 6: "link" };
const HALF_COLUMN = 272;

/** The components of one message. `hands` has press(component, values), isBusy(custom_id), file(address). */
export function componentRows(components, hands, context) {
  return components.map((component) => build(component, hands, context));
}

const BUILDERS = {
  1: (row, hands, context) => el("div", { class: "row", role: "group" }, componentRows(row.components, hands, context)),
  2: button,
  3: menu,
  5: menu,
  6: menu,
  7: menu,
  8: menu,
  9: section,
  10: (part, hands, context) => el("div", { class: "text-display" }, markdown(part.content, context)),
  11: (part, hands, context) => mediaItem(part, hands, context, 96),
  12: gallery,
  13: (part, hands) => fileLine(part, hands),
  14: (part) => el("hr", { class: part.divider === false ? "gap" : "divider" }),
  17: container,
};

function build(component, hands, context) {
  const builder = BUILDERS[component.type];
  if (builder) return builder(component, hands, context);
  return el("p", { class: "unsupported", text: `Component of type ${component.type}: this page cannot show it.` });
}

function button(part, hands) {
  const style = STYLES[part.style] ?? "secondary";
  const face = [emojiFace(part.emoji), part.label ? el("span", { text: part.label }) : null];
  const href = part.url ? safeUrl(part.url) : null;
  const name = part.label || part.emoji?.name || "Button";
  if (href) return el("a", { class: "press link", href, target: "_blank", rel: "noopener noreferrer" }, ...face, icon("open"));
  const busy = hands.isBusy(part.custom_id);
  const node = el(
    "button",
    {
      type: "button",
      class: `press ${style}`,
      disabled: part.disabled,
      "aria-label": part.label ? null : name,
      "aria-busy": busy ? "true" : null,
      data: { customId: part.custom_id ?? "" },
    },
    el("span", { class: "face" }, ...face),
    spinner(),
  );
  node.addEventListener("click", () => hands.isBusy(part.custom_id) || hands.press(part));
  return node;
}

/** String options come with the component; people and channels are those of this guild. */
function menu(part, hands, context) {
  const options = part.type === 3 ? part.options : context.entityOptions(part.type);
  const onChoose = (values) => hands.isBusy(part.custom_id) || hands.press(part, values);
  const { node } = new SelectMenu({ ...part, options }, { onChoose, busy: hands.isBusy(part.custom_id) });
  node.dataset.customId = part.custom_id;
  return node;
}

function section(part, hands, context) {
  const words = el("div", { class: "section-words" }, componentRows(part.components, hands, context));
  return el("div", { class: "section" }, words, build(part.accessory, hands, context));
}

function mediaItem(item, hands, context, limit) {
  const known = hands.file(item.media.url);
  const size = { width: item.media.width || known?.width || limit, height: item.media.height || known?.height || limit };
  const flags = item.spoiler ? 8 : 0;
  const file = { ...item.media, ...size, flags, url: known?.url ?? item.media.url, description: item.description ?? "" };
  const view = new Picture(file, () => context.openPicture([view.file], 0), limit, limit);
  return view.node;
}

function gallery(part, hands, context) {
  const limit = part.items.length === 1 ? HALF_COLUMN * 2 : HALF_COLUMN;
  const node = el("div", { class: "pictures several" }, part.items.map((item) => mediaItem(item, hands, context, limit)));
  if (part.items.length === 1) node.classList.remove("several");
  return node;
}

function fileLine(part, hands) {
  const known = hands.file(part.file.url);
  const href = safeUrl(known?.url ?? part.file.url);
  const name = part.name ?? known?.filename ?? "File";
  return el("a", { class: "file", href, target: "_blank", rel: "noopener noreferrer" }, icon("file"), el("span", { text: name }));
}

function container(part, hands, context) {
  const node = el("div", { class: "embed container" }, componentRows(part.components, hands, context));
  if (Number.isInteger(part.accent_color)) node.style.setProperty("--bar", cssColour(part.accent_color));
  return node;
}

/** Put fresh rows in place of the old ones without taking the focus away from a control. */
export function replaceRows(holder, rows) {
  const focused = holder.contains(document.activeElement) ? document.activeElement.closest("[data-custom-id]") : null;
  const customId = focused?.dataset.customId;
  holder.replaceChildren(...rows);
  if (!customId) return;
  const again = [...holder.querySelectorAll("[data-custom-id]")].find((node) => node.dataset.customId === customId);
  (again?.matches("button") ? again : again?.querySelector("button"))?.focus({ preventScroll: true });
}
