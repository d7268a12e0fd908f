/*
 * Embeds: the card a bot hangs under its words.
 *
 * Promise: colours are numbers turned into one CSS property, pictures keep their room, addresses
 * go through the same gate as all others.
 */

import { clock, el, moment, safeUrl } from "./dom.js";
import { inlineMarkdown, markdown } from "./markdown.js";
import { Picture } from "./media.js";

/** Build one embed; parts that are missing leave no gap. */
export function embedCard(embed, context) {
  const card = el("article", { class: "embed", "aria-label": embed.title || "Embed" });
  if (Number.isInteger(embed.color)) card.style.setProperty("--bar", cssColour(embed.color));
  const words = el("div", { class: "embed-words" });
  words.append(...[author(embed), title(embed, context), description(embed, context), fields(embed, context)].filter(Boolean));
  const body = el("div", { class: "embed-body" }, words, picture(embed.thumbnail, "thumbnail", context, 96));
  card.append(...[body, picture(embed.image, "embed-image", context, 400), footer(embed)].filter(Boolean));
  return card;
}

/** 0xRRGGBB as CSS. */
export const cssColour = (number) => `#${(number & 0xffffff).toString(16).padStart(6, "0")}`;

function author({ author: by }) {
  return by?.name ? el("div", { class: "embed-author" }, linked(by.name, by.url)) : null;
}

function title(embed, context) {
  if (!embed.title) return null;
  const words = inlineMarkdown(embed.title, context);
  const href = embed.url && safeUrl(embed.url);
  const inner = href ? el("a", { href, target: "_blank", rel: "noopener noreferrer" }, words) : words;
  return el("div", { class: "embed-title", role: "heading", "aria-level": "4" }, inner);
}

function description(embed, context) {
  return embed.description ? el("div", { class: "embed-text" }, markdown(embed.description, context)) : null;
}

function fields(embed, context) {
  if (!embed.fields?.length) return null;
  const list = el("dl", { class: "embed-fields" });
  for (const field of embed.fields) {
    const name = el("dt", {}, inlineMarkdown(field.name, context));
    const value = el("dd", {}, markdown(field.value, context));
    list.append(el("div", { class: field.inline ? "inline" : "whole" }, name, value));
  }
  return list;
}

function picture(image, style, context, tallest) {
  if (!image?.url || !safeUrl(image.url)) return null;
  const file = { width: tallest, height: tallest, ...image, description: image.description ?? "" };
  const view = new Picture(file, () => context.openPicture([view.file], 0), style === "thumbnail" ? 96 : 480, tallest);
  view.node.classList.add(style);
  return view.node;
}

function footer(embed) {
  const date = embed.timestamp ? new Date(embed.timestamp) : null;
  if (!embed.footer?.text && !date) return null;
  const when = date && el("time", { datetime: embed.timestamp, title: moment(date), text: clock(date) });
  const words = embed.footer?.text ? el("span", { text: embed.footer.text }) : null;
  return el("footer", { class: "embed-footer" }, words, when);
}

function linked(text, address) {
  const href = address && safeUrl(address);
  return href ? el("a", { href, target: "_blank", rel: "noopener noreferrer", text }) : el("span", { text });
}
