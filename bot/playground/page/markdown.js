/*
 * Discord's markdown, the part that messages use, as DOM nodes.
 *
 * Promise: any text at all gives nodes whose words are text nodes; only http and https
 * addresses become links. Unclosed marks stay as they were typed.
 */

import { clock, el, moment, safeUrl } from "./dom.js";
import { withEmoji } from "./emoji.js";

const DEEPEST = 8;
const MESSAGE = /^https?:\/\/(?:[a-z]+\.)?discord(?:app)?\.com\/channels\/(?:@me|\d+)\/(\d+)\/(\d+)\/?$/;

/** Each inline rule: a pattern anchored at the cursor, and what to make of its match. */
const INLINE = [
  [/^\\([^\p{L}\p{N}\s])/u, (match) => match[1]],
  [/^(`+)([^]*?[^`])\1(?!`)/, (match) => el("code", { text: match[2] })],
  [/^<(https?:\/\/[^\s<>]+)>/, (match, context) => bareLink(match[1], context)],
  [/^<@!?(\d+)>/, (match, context) => mention(`@${context.userName(match[1])}`, match[1], context)],
  [/^<@&(\d+)>/, () => el("span", { class: "mention", text: "@role" })],
  [/^<#(\d+)>/, (match, context) => channelLink(match[1], context)],
  [/^<\/([^:>\n]{1,98}):\d+>/, (match, context) => commandLink(match[1], context)],
  [/^<a?:(\w+):\d+>/, (match) => `:${match[1]}:`],
  [/^<t:(-?\d{1,13})(?::([tTdDfFR]))?>/, (match) => timestamp(Number(match[1]), match[2])],
  [/^\[((?:\\.|[^[\]\\])+)\]\(<?(https?:\/\/[^\s()<>]+)>?\)/, maskedLink],
  [/^https?:\/\/[^\s<>]*[^\s<>.,:;"'\])!?*_|]/, (match, context) => bareLink(match[0], context)],
  [/^\*\*\*([^]+?)\*\*\*(?!\*)/, (match, context, deep) => wrap("strong", wrapInline("em", match[1], context, deep))],
  [/^\*\*([^]+?)\*\*(?!\*)/, (match, context, deep) => wrapInline("strong", match[1], context, deep)],
  [/^__([^]+?)__(?!_)/, (match, context, deep) => wrapInline("u", match[1], context, deep)],
  [/^\*(?![\s*])((?:\*\*[^*]+\*\*|[^*])*?[^\s*])\*(?!\*)/, (match, context, deep) => wrapInline("em", match[1], context, deep)],
  [/^_(?![\s_])((?:[^_]|_(?=[\p{L}\p{N}]))*[^\s_])_(?![\p{L}\p{N}_])/u, (match, context, deep) => wrapInline("em", match[1], context, deep)],
  [/^~~([^]+?)~~/, (match, context, deep) => wrapInline("s", match[1], context, deep)],
  [/^\|\|([^]+?)\|\|/, (match, context, deep) => spoiler(inline(match[1], context, deep + 1))],
];

/** Where a mark may begin: everything up to the next of these characters is plain text. */
const PLAIN = /^(?:[\p{L}\p{N}]+_+(?=[\p{L}\p{N}])|[^\\`<[h*_~|]|h(?!ttps?:))+/u;

/** Render a whole message: code blocks, headings, quotes, lists, then inline marks. */
export function markdown(text, context) {
  const out = document.createDocumentFragment();
  const parts = String(text).split(/```(?:([\w+-]{0,20})\n)?([^]+?)```/);
  for (let index = 0; index < parts.length; index += 3) {
    if (index > 0) out.append(codeBlock(parts[index - 1], parts[index - 2]));
    out.append(...blocks(trimEdges(parts[index], index > 0, index + 3 < parts.length), context));
  }
  return out;
}

/** Render inline marks only: titles, button lines, snippets. */
export function inlineMarkdown(text, context) {
  const out = document.createDocumentFragment();
  out.append(...inline(String(text), context, 0));
  return out;
}

/** The words without marks, on one line: for reply snippets and announcements. */
export function plainText(text, context) {
  return inlineMarkdown(String(text).replace(/```\w*\n?|^[#>-]+\s/gm, ""), context)
    .textContent.replace(/\s+/g, " ")
    .trim();
}

function trimEdges(text, afterCode, beforeCode) {
  let out = text ?? "";
  if (afterCode) out = out.replace(/^\n/, "");
  if (beforeCode) out = out.replace(/\n$/, "");
  return out;
}

function codeBlock(text, language) {
  const code = el("code", { text: text.replace(/^\n|\n$/g, "") });
  const label = `Code block${language ? `, ${language}` : ""}`;
  return el("pre", { class: "code-block", tabindex: "0", role: "region", "aria-label": label }, code);
}

const BLOCKS = [
  [/^(#{1,3}) +(.+)$/, (match) => ["heading", `h-${match[1].length}`, match[2]]],
  [/^-# +(.+)$/, (match) => ["small", "subtext", match[1]]],
  [/^> ?(.*)$/, (match) => ["quote", "quote", match[1]]],
  [/^ *[-*] +(.+)$/, (match) => ["item", "list", match[1]]],
];

function lineKind(line) {
  for (const [pattern, kind] of BLOCKS) {
    const match = pattern.exec(line);
    if (match) return kind(match);
  }
  return ["text", "", line];
}

/** Join neighbouring lines of one kind, so that a mark may run over several plain lines. */
function blocks(text, context) {
  if (!text) return [];
  const runs = [];
  for (const line of text.split("\n")) {
    const [kind, style, rest] = lineKind(line);
    const last = runs.at(-1);
    if (last && last.kind === kind && kind !== "heading") last.lines.push(rest);
    else runs.push({ kind, style, lines: [rest] });
  }
  return runs.flatMap((run) => renderRun(run, context));
}

function renderRun({ kind, style, lines }, context) {
  const text = lines.join("\n");
  if (kind === "text") return [el("span", { class: "text-run" }, inline(text, context, 0))];
  if (kind === "quote") return [el("blockquote", {}, inline(text, context, 0))];
  if (kind === "item") {
    return [el("ul", {}, lines.map((line) => el("li", {}, inline(line, context, 0))))];
  }
  const role = kind === "heading" ? { role: "heading", "aria-level": "4" } : {};
  return [el("div", { class: style, ...role }, inline(text, context, 0))];
}

function inline(text, context, deep) {
  if (deep > DEEPEST) return [text];
  const out = [];
  let plain = "";
  const flush = () => {
    if (plain) out.push(...withEmoji(plain));
    plain = "";
  };
  let rest = text;
  while (rest) {
    const words = PLAIN.exec(rest)?.[0] ?? "";
    plain += words;
    rest = rest.slice(words.length);
    if (!rest) break;
    const [length, node] = firstRule(rest, context, deep);
    if (length) {
      flush();
      out.push(node);
    } else {
      plain += rest[0];
    }
    rest = rest.slice(length || 1);
  }
  flush();
  return out;
}

function firstRule(rest, context, deep) {
  for (const [pattern, make] of INLINE) {
    const match = pattern.exec(rest);
    if (!match) continue;
    const node = make(match, context, deep);
    if (node !== null) return [match[0].length, node];
  }
  return [0, null];
}

const wrap = (tag, ...children) => el(tag, {}, ...children);
const wrapInline = (tag, text, context, deep) => wrap(tag, inline(text, context, deep + 1));

function link(text, address) {
  const href = safeUrl(address);
  if (href === null) return text;
  return el("a", { href, target: "_blank", rel: "noopener noreferrer", title: href, text });
}

/** The address of a message here shows its channel, as in Discord. */
function bareLink(address, context) {
  const place = placeOf(address, context);
  if (!place) return link(address, address);
  const node = leading(link(`#${place.name} › message`, address), context);
  node.classList.add("mention");
  return node;
}

/** Let a link to a message here lead to it; all others open a new window. */
function leading(node, context) {
  const place = placeOf(node.href, context);
  if (!place) return node;
  node.addEventListener("click", (event) => {
    event.preventDefault();
    context.openMessage(place.channelId, place.id);
  });
  return node;
}

function placeOf(address, context) {
  const [, channelId, id] = MESSAGE.exec(address ?? "") ?? [];
  const name = channelId && context.channelName(channelId);
  return name ? { channelId, id, name } : null;
}

function maskedLink(match, context, deep) {
  const node = leading(link("", match[2]), context);
  if (typeof node === "string") return null;
  node.append(...inline(match[1].replace(/https?:\/\//g, ""), context, deep + 1));
  return node;
}

function mention(text, id, context) {
  return el("span", { class: id === context.meId() ? "mention me" : "mention", text });
}

function channelLink(id, context) {
  const name = context.channelName(id);
  if (!name) return el("span", { class: "mention", text: "#unknown" });
  return el("button", { type: "button", class: "mention", text: `#${name}`, on: { click: () => context.openChannel(id) } });
}

function commandLink(name, context) {
  const open = () => context.fillCommand(name);
  return el("button", { type: "button", class: "mention", text: `/${name}`, on: { click: open } });
}

/** Words hidden until asked for; the cover is a real button for the keyboard. */
function spoiler(children) {
  const node = el(
    "span",
    { class: "spoiler", role: "button", tabindex: "0", "aria-label": "Spoiler, press to show" },
    el("span", { class: "spoiler-words", "aria-hidden": "true" }, ...children),
  );
  const show = (event) => {
    if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
    if (node.classList.contains("shown")) return;
    event.preventDefault();
    node.classList.add("shown");
    for (const name of ["role", "tabindex", "aria-label"]) node.removeAttribute(name);
    node.firstChild.removeAttribute("aria-hidden");
  };
  node.addEventListener("click", show);
  node.addEventListener("keydown", show);
  return node;
}

const STYLES = {
  t: { timeStyle: "short", hourCycle: "h23" },
  T: { timeStyle: "medium", hourCycle: "h23" },
  d: { dateStyle: "short" },
  D: { dateStyle: "long" },
  f: { dateStyle: "long", timeStyle: "short", hourCycle: "h23" },
  F: { dateStyle: "full", timeStyle: "short", hourCycle: "h23" },
};

function timestamp(seconds, style = "f") {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return null;
  const relative = style === "R";
  const text = relative ? relativeTime(seconds) : new Intl.DateTimeFormat([], STYLES[style]).format(date);
  const data = relative ? { seconds: String(seconds) } : {};
  return el("time", { class: "stamp", datetime: date.toISOString(), title: moment(date), data, text });
}

const UNITS = [["year", 31_536_000], ["month", 2_592_000], ["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]];
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** "in 20 seconds", "3 minutes ago". */
export function relativeTime(seconds, now = Date.now()) {
  const distance = seconds - now / 1000;
  const [unit, size] = UNITS.find(([, length]) => Math.abs(distance) >= length) ?? UNITS.at(-1);
  return RELATIVE.format(Math.round(distance / size), unit);
}

/** Bring every relative moment under `root` up to date; the page calls it as time passes. */
export function refreshTimes(root) {
  for (const node of root.querySelectorAll("time[data-seconds]")) {
    const text = relativeTime(Number(node.dataset.seconds));
    if (node.textContent !== text) node.textContent = text;
  }
  for (const node of root.querySelectorAll("time[data-clock]")) {
    const text = clock(new Date(node.dateTime));
    if (node.textContent !== text) node.textContent = text;
  }
}
