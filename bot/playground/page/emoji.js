/*
 * Emoji of buttons and reactions, drawn here, for machines without a font that has them.
 *
 * Promise: every drawing is this page's own; an emoji that is not drawn stays the character it
 * is. The character is always there as text, for copying and for screen readers.
 */

import { el } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const TILE = "#3f78a8";
const WHITE = "#f6f2ea";

/** A shape is [path, fill] or [path, "none", stroke, width]. */
const tile = (colour) => ["M5 2h14a3 3 0 013 3v14a3 3 0 01-3 3H5a3 3 0 01-3-3V5a3 3 0 013-3z", colour];
const line = (path, colour = WHITE, width = 2.6) => [path, "none", colour, width];

function circle(x, y, r) {
  return `M${x - r} ${y}a${r} ${r} 0 10${2 * r} 0a${r} ${r} 0 10${-2 * r} 0z`;
}

const DRAWN = {
  "🔄": [tile(TILE), line("M17.5 9.5A6 6 0 006.6 9M6.5 14.5a6 6 0 0010.9.5"), ["M19.4 5.6v5.2h-5.2z", WHITE], ["M4.6 18.4v-5.2h5.2z", WHITE]],
  "❤": [["M12 21C5.5 16 2 12.6 2 8.4 2 5.4 4.3 3.2 7.1 3.2c2 0 3.8 1.1 4.9 3 1.1-1.9 2.9-3 4.9-3C19.7 3.2 22 5.4 22 8.4c0 4.2-3.5 7.6-10 12.6z", "#e0524d"]],
  "🗑": [["M5 8h14l-1.3 12.2a2 2 0 01-2 1.8H8.3a2 2 0 01-2-1.8z", "#8e979e"], ["M3.5 4.8h17v2.4h-17zM9 2.6h6v2.4H9z", "#b7bec4"], line("M9.5 11l.5 8M14.5 11l-.5 8M12 11v8", "#5c646a", 1.5)],
  "⬅": [tile(TILE), line("M19 12H6M11 6.5L5.5 12l5.5 5.5")],
  "➡": [tile(TILE), line("M5 12h13M13 6.5l5.5 5.5-5.5 5.5")],
  "⬆": [tile(TILE), line("M12 19V6M6.5 11L12 5.5l5.5 5.5")],
  "⬇": [tile(TILE), line("M12 5v13M6.5 13l5.5 5.5 5.5-5.5")],
  "↩": [tile(TILE), line("M18.5 18c1-5.5-2-8-6-8H6M10 5.5L5.5 10l4.5 4.5")],
  "◀": [tile(TILE), ["M17 5.5v13L6 12z", WHITE]],
  "▶": [tile(TILE), ["M7 5.5v13L18 12z", WHITE]],
  "⏮": [tile(TILE), ["M18.5 6v12L9 12zM5.5 6H8v12H5.5z", WHITE]],
  "⏭": [tile(TILE), ["M5.5 6v12L15 12zM16 6h2.5v12H16z", WHITE]],
  "⏩": [tile(TILE), ["M4 6.5v11l8-5.5zM12 6.5v11l8-5.5z", WHITE]],
  "⏹": [tile(TILE), ["M7 7h10v10H7z", WHITE]],
  "⏸": [tile(TILE), ["M7 6h3.5v12H7zM13.5 6H17v12h-3.5z", WHITE]],
  "⭐": [["M12 1.8l3.1 6.6 7.1 1-5.2 5 1.3 7.2-6.3-3.5-6.3 3.5L7 14.4l-5.2-5 7.1-1z", "#f2b93b"]],
  "✉": [["M2 5.5h20v13.5H2z", "#e9e3d6"], line("M2.5 6l9.5 7.5L21.5 6", "#8a8170", 1.7)],
  "📩": [["M2 7h20v13H2z", "#e9e3d6"], line("M2.5 7.5l9.5 7 9.5-7", "#8a8170", 1.7), line("M12 1.5v8M8.5 6.5L12 10l3.5-3.5", "#e0524d", 2)],
  "❌": [line("M4.5 4.5l15 15M19.5 4.5l-15 15", "#e0524d", 4)],
  "✅": [tile("#4b9a62"), line("M6 12.5l4.2 4.5L18 7.5", WHITE, 3)],
  "➕": [line("M12 3.5v17M3.5 12h17", "#b9b0a2", 4.2)],
  "➖": [line("M3.5 12h17", "#b9b0a2", 4.2)],
  "👍": [["M7 21.5h9.5c1.7 0 3-1 3.3-2.5l1.5-7c.3-1.7-.8-3-2.5-3H14l.8-4.5C15.1 2.6 14 1.5 12.7 1.5c-.7 0-1.2.4-1.5 1L7 10.5z", "#f2b93b"], ["M2 10.5h4.2v11H2z", "#3f78a8"]],
  "👎": [["M17 2.5H7.5C5.8 2.5 4.5 3.5 4.2 5l-1.5 7c-.3 1.7.8 3 2.5 3H10l-.8 4.5c-.3 1.9.8 3 2.1 3 .7 0 1.2-.4 1.5-1l4.2-8z", "#f2b93b"], ["M17.8 2.5H22v11h-4.2z", "#3f78a8"]],
  "🎲": [["M12 1.5l9 5v11l-9 5-9-5v-11z", "#d9d2c4"], ["M12 11.5v11l-9-5v-11z", "#c2baa9"], ["M12 11.5l9-5v11l-9 5z", "#aba292"], [circle(12, 6.5, 1.7), "#c63f3a"], [circle(6.2, 12, 1.2) + circle(9, 17.5, 1.2), "#3a362f"], [circle(15, 12.8, 1.2) + circle(18.2, 15.7, 1.2) + circle(16.6, 14.3, 1.2), "#3a362f"]],
  "ℹ": [tile(TILE), ["M10.4 10h3.2v8.5h-3.2z" + circle(12, 6.7, 1.8), WHITE]],
  "❓": [line("M7.5 7.5c.4-5 9-5 9 .3 0 3.5-4.5 3.7-4.5 7.2", "#e0524d", 3.2), [circle(12, 20, 2), "#e0524d"]],
  "⚠": [["M12 2l10.5 19h-21z", "#f2b93b"], ["M10.8 8.5h2.4l-.5 7h-1.4z" + circle(12, 18, 1.3), "#3a2f1e"]],
  "🚩": [line("M5 2.5v19.5", "#8e979e", 2.2), ["M6 3h14l-3.5 5L20 13H6z", "#e0524d"]],
  "🔍": [line("M14.5 14.5L21.5 21.5", "#8e979e", 3.4), [circle(9.5, 9.5, 7.5), "#8e979e"], [circle(9.5, 9.5, 5.3), "#cfe3f2"]],
  "🔎": [line("M9.5 14.5L2.5 21.5", "#8e979e", 3.4), [circle(14.5, 9.5, 7.5), "#8e979e"], [circle(14.5, 9.5, 5.3), "#cfe3f2"]],
  "✏": [["M4 15.5L16 3.5l4.5 4.5-12 12z", "#f2b93b"], ["M4 15.5l4.5 4.5L2.5 21.5z", "#e9d3b0"], ["M16 3.5l2-2 4.5 4.5-2 2z", "#d98c8c"]],
  "🖌": [["M20.5 2L22 3.5 12.5 14l-2.5-2.5z", "#b98a4e"], ["M10 11.5l2.5 2.5c.5 4-3 7.5-9.5 7 2.5-1.5 2-3.5 2.5-5.5.6-2.5 2.5-4 4.5-4z", "#3f78a8"]],
  "🎨": [["M12 2.5C6 2.5 1.5 6.6 1.5 12S6 21.5 11 21.5c2.4 0 2.6-1.6 2-2.8-.8-1.7 0-3.2 2-3.2h3.5c2.5 0 4-1.7 4-4.5 0-5-4.5-8.5-10.5-8.5z", "#d8b27a"], [circle(7, 10, 1.7), "#e0524d"], [circle(11.5, 7, 1.7), "#f2b93b"], [circle(16.5, 8.5, 1.7), "#4b9a62"], [circle(7, 15, 1.7), "#3f78a8"]],
  "🖼": [["M2 3.5h20v17H2z", "#b98a4e"], ["M4.5 6h15v12h-15z", "#cfe3f2"], ["M4.5 18l5-6 3.5 4 2.5-2.5 4 4.5z", "#4b9a62"], [circle(15.5, 9, 1.6), "#f2b93b"]],
  "🔒": [line("M7.5 11V8a4.5 4.5 0 019 0v3", "#8e979e", 2.4), ["M4.5 10.5h15v11h-15z", "#f2b93b"], [circle(12, 16, 1.9), "#3a2f1e"]],
  "⏳": [["M6 3h12v2.5c0 3-3 4.5-4.5 6.5 1.5 2 4.5 3.5 4.5 6.5V21H6v-2.5c0-3 3-4.5 4.5-6.5C9 10 6 8.5 6 5.5z", "#cfe3f2"], ["M8.5 20c.5-2.5 2.5-3.5 3.5-5 1 1.5 3 2.5 3.5 5zM9 6.5h6c-.5 1.5-2 2.5-3 4-1-1.5-2.5-2.5-3-4z", "#f2b93b"], ["M5 1.5h14v2.3H5zM5 20.2h14v2.3H5z", "#b98a4e"]],
  "🔥": [["M12 1.5c1 4 6.5 6 6.5 12.5 0 4.5-3 8-6.5 8s-6.5-3.5-6.5-7.5c0-3 1.5-4.5 2.5-6.5 1 1 1.5 2 1.5 3 2-2 2.5-5 2.5-9.5z", "#e0723a"], ["M12 12c.5 2 3 3 3 6 0 2-1.3 3.5-3 3.5S9 20 9 18c0-2.5 2.5-3.5 3-6z", "#f2b93b"]],
  "🎉": [["M2.5 21.5L8 8.5l8 8z", "#f2b93b"], [circle(14, 4.5, 1.4) + circle(20.5, 13, 1.4), "#e0524d"], [circle(19, 6, 1.7), "#3f78a8"], [circle(10.5, 3.5, 1.2) + circle(21, 18, 1.2), "#4b9a62"]],
  "✨": [["M10 3l2 6.5 6.5 2.5-6.5 2.5L10 21l-2-6.5L1.5 12 8 9.5zM19 2l1 3 3 1-3 1-1 3-1-3-3-1 3-1z", "#f2b93b"]],
  "🐱": [["M3 2.5l6 4h6l6-4v11c0 5-4 8.5-9 8.5s-9-3.5-9-8.5z", "#e0a040"], [circle(8.3, 12.5, 1.5) + circle(15.7, 12.5, 1.5), "#3a2f1e"], ["M10.7 15.5h2.6L12 17z", "#c6504a"]],
  "🌻": [line("M12 14v8.5M12 20c-3-3.5-6-3.5-8.5-2.5 1.5 3.5 4.5 4.5 8.5 3M12 20c3-3.5 6-3.5 8.5-2.5-1.5 3.5-4.5 4.5-8.5 3", "#4b9a62", 2.2), ["M12 .8l2 3 3.4-1.3.4 3.6 3.6.4l-1.3 3.4 2.7 2.1-10 6-10-6 2.7-2.1L2.6 6.5l3.6-.4.4-3.6L10 3.8z", "#f2b93b"], [circle(12, 9.5, 7), "#f2b93b"], [circle(12, 9.5, 4), "#6b4423"]],
  "🐼": [[circle(4.8, 5.5, 3.6) + circle(19.2, 5.5, 3.6), "#3a3632"], [circle(12, 12.8, 9.6), "#f1ece3"], [circle(7.9, 11.6, 2.7) + circle(16.1, 11.6, 2.7), "#3a3632"], [circle(8.2, 11.4, 0.9) + circle(15.8, 11.4, 0.9), WHITE], [circle(12, 15.8, 1.6), "#3a3632"], line("M9 18.6c1.6 1.5 4.4 1.5 6 0", "#3a3632", 1.4)],
  "🍕": [["M2 5.5C8.5 2 15.5 2 22 5.5L12 22.5z", "#e8b64c"], ["M2 5.5C8.5 2 15.5 2 22 5.5l-1.2 2c-5.8-3-11.8-3-17.6 0z", "#b98a4e"], [circle(9, 9.5, 1.9) + circle(14.7, 9.7, 1.9) + circle(12, 15, 1.9), "#c6403a"]],
  "🚀": [["M12 1.5c4 3 5 7 5 10.5v5H7v-5c0-3.5 1-7.5 5-10.5z", "#d9d2c4"], ["M7 11.5l-4 5v4l4-2.5zM17 11.5l4 5v4l-4-2.5z", "#c6403a"], [circle(12, 9, 2.2), "#3f78a8"], ["M9.5 18h5L12 23z", "#f2b93b"]],
};

const SQUARES = { "🟥": "#c6403a", "🟧": "#d9823b", "🟨": "#e3c04a", "🟩": "#4b9a62", "🟦": "#3f78a8", "🟪": "#7d5aa6", "🟫": "#8a5f3c", "⬛": "#575149", "⬜": "#d9d2c4", "🔲": "#5c646a", "🔳": "#8e979e" };

/** The emoji that a person may choose to react with here. */
export const OFFERED = ["✉️", "❌", "⭐", "👍"];

const bare = (name) => name.replace(/\uFE0F/g, "");
const KEYCAP = /^[0-9#*]\uFE0F?\u20E3$/;

/** One emoji as an element: drawn if this page can, with the character kept as text. */
export function emojiFace(part) {
  if (!part?.name) return null;
  const known = part.id ? null : drawing(part.name);
  if (!known) return el("span", { class: "emoji", "aria-hidden": "true", text: part.id ? `:${part.name}:` : part.name });
  return el("span", { class: "emoji drawn", "aria-hidden": "true" }, known, el("span", { class: "unseen", text: part.name }));
}

/** Text in which every emoji that can be drawn is; the rest stays text. */
export function withEmoji(text) {
  return String(text)
    .split(TEXT)
    .filter(Boolean)
    .map((piece) => (drawing(piece) ? emojiFace({ name: piece }) : piece));
}

function drawing(name) {
  const key = bare(name);
  if (KEYCAP.test(name)) return keycap(name[0]);
  if (SQUARES[key]) return svg([tile(SQUARES[key])]);
  return DRAWN[key] ? svg(DRAWN[key]) : null;
}

function svg(shapes) {
  const root = document.createElementNS(SVG, "svg");
  root.setAttribute("viewBox", "0 0 24 24");
  for (const [d, fill, stroke, width] of shapes) {
    const path = document.createElementNS(SVG, "path");
    const style = { d, fill, stroke, "stroke-width": width, "stroke-linecap": "round", "stroke-linejoin": "round" };
    for (const [key, value] of Object.entries(style)) if (value !== undefined) path.setAttribute(key, value);
    root.append(path);
  }
  return root;
}

function keycap(character) {
  const root = svg([tile(TILE)]);
  const text = document.createElementNS(SVG, "text");
  for (const [key, value] of Object.entries({ x: 12, y: 17.5, "text-anchor": "middle", "font-size": 15, "font-weight": 700, fill: WHITE })) text.setAttribute(key, value);
  text.textContent = character;
  root.append(text);
  return root;
}

// In running text an arrow or a triangle is an emoji only where it asks to be one.
const ASKING = ["◀", "▶", "↩", "⬅", "➡", "⬆", "⬇", "✉", "✏", "❤", "ℹ", "⚠", "🗑", "🖌", "🖼", "⏮", "⏭", "⏹", "⏸"];
const always = [...Object.keys(DRAWN), ...Object.keys(SQUARES)].filter((key) => !ASKING.includes(key));
const TEXT = new RegExp(`((?:${ASKING.join("|")})\\uFE0F|[0-9#*]\\uFE0F\\u20E3|(?:${always.join("|")})\\uFE0F?)`, "u");
