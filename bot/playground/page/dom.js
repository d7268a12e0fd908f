/*
 * Small helpers to build elements.
 *
 * Promise: text that people wrote only ever becomes a text node. Nothing in this page parses
 * a string as HTML, and no attribute that could run code is set from data.
 */

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6L6 18",
  down: "M12 5v13M6 13l6 6 6-6",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9.2a2.8 2.8 0 100 5.6 2.8 2.8 0 000-5.6z",
  chevron: "M7 10l5 5 5-5",
  reply: "M5 19v-6a4 4 0 014-4h10M15 5l4 4-4 4",
  send: "M5 12h13M12 5l7 7-7 7",
  open: "M9 6h-3v12h12v-3M13 5h6v6M19 5l-8 8",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  easel: "M12 3v3M6 6h12v9H6zM9 15l-3 6M15 15l3 6M12 15v4",
  plus: "M12 5v14M5 12h14",
  warning: "M12 4l9 16H3zM12 10v5M12 17.6v.4",
  file: "M7 3h7l4 4v14H7zM14 3v4h4",
  more: "M4.5 12h1.5M11.2 12h1.6M18 12h1.5M4.5 12.8h1.5M11.2 12.8h1.6M18 12.8h1.5",
  smile: "M12 3.5a8.5 8.5 0 100 17 8.5 8.5 0 000-17zM8.5 14c1.7 3 5.3 3 7 0M9 9.5v.01M15 9.5v.01",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  silent: "M4 4l16 16M8 6.5a5 5 0 018.5 3.5v4l2 3H8M6.5 10v4l-2 3h9",
};

/**
 * Make an element. `props` takes class, text, data (an object for dataset), on (listeners) and
 * plain attributes; true sets an empty attribute; false, null and undefined set none.
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "on") listen(node, value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

function listen(node, listeners) {
  for (const [name, listener] of Object.entries(listeners)) node.addEventListener(name, listener);
}

/** One of the drawn icons; it says nothing to a screen reader. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** The ring that turns while something is awaited. */
export const spinner = () => el("span", { class: "spinner", "aria-hidden": "true" });

/** A round picture of a person: the initial on one of six quiet tints, or the easel for a bot. */
export function avatar(user, size = "") {
  const tint = user.bot ? "bot" : `tint-${Number(BigInt(user.id || 0) % 6n)}`;
  const face = user.bot ? icon("easel") : [...displayName(user)][0].toUpperCase();
  return el("span", { class: `avatar ${tint} ${size}`, "aria-hidden": "true" }, face);
}

/** What people call someone: the member's nick, the display name, the account name. */
export function displayName(user, member = null) {
  return member?.nick || user?.global_name || user?.username || "someone";
}

/** Order two snowflakes without losing digits. */
export function compareIds(a, b) {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

/** The address if it is one a browser may open or show, else null. */
export function safeUrl(text) {
  try {
    const url = new URL(text, location.href);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

const DAY = 86_400_000;
const CLOCK = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const SHORT = new Intl.DateTimeFormat([], { day: "numeric", month: "short" });
const LONG = new Intl.DateTimeFormat([], { dateStyle: "full", timeStyle: "short", hourCycle: "h23" });
const DATE = new Intl.DateTimeFormat([], { weekday: "long", day: "numeric", month: "long" });

/** Days from `date` to today by the calendar: 0 today, 1 yesterday. */
export function daysAgo(date, now = new Date()) {
  const midnight = (moment) => new Date(moment).setHours(0, 0, 0, 0);
  return Math.round((midnight(now) - midnight(date)) / DAY);
}

/** "14:07", "Yesterday 14:07" or "3 May 14:07". */
export function clock(date) {
  const days = daysAgo(date);
  if (days === 0) return CLOCK.format(date);
  return `${days === 1 ? "Yesterday" : SHORT.format(date)} ${CLOCK.format(date)}`;
}

/** The whole moment, for a tooltip. */
export const moment = (date) => LONG.format(date);

/** The name of a day, for a separator. */
export function dayName(date) {
  const days = daysAgo(date);
  return days === 0 ? "Today" : days === 1 ? "Yesterday" : DATE.format(date);
}
