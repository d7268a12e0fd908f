/*
 * Attachments: pictures that keep their place, covers over spoilers, files as links.
 *
 * Promise: a picture takes its final room before it is loaded; when its address changes the old
 * picture stays in sight until the new one is decoded.
 */

import { el, icon, safeUrl } from "./dom.js";

const WIDEST = 560;
const TALLEST = 448;
const SPOILER_FLAG = 1 << 3;

/** The size to show a picture at: never enlarged, within the column. */
export function fit(width, height, widest = WIDEST, tallest = TALLEST) {
  const scale = Math.min(1, widest / width, tallest / height);
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

const isPicture = (file) => Boolean(file.width && file.height) && !/^video\//.test(file.content_type ?? "");
const isSpoiler = (file) => file.filename?.startsWith("SPOILER_") || Boolean((file.flags ?? 0) & SPOILER_FLAG);

/** The attachments of one message, patched in place on each edit. */
export class Media {
  #pictures = [];
  #files = el("div", { class: "files" });

  constructor(context) {
    this.context = context;
    this.node = el("div", { class: "media" });
    this.grid = el("div", { class: "pictures" });
    this.node.append(this.grid, this.#files);
  }

  update(attachments) {
    const pictures = attachments.filter(isPicture);
    const shown = () => this.#pictures.map((picture) => picture.file);
    while (this.#pictures.length > pictures.length) this.#pictures.pop().node.remove();
    pictures.forEach((file, index) => {
      if (this.#pictures[index]) {
        this.#pictures[index].update(file);
        return;
      }
      const picture = new Picture(file, () => this.context.openPicture(shown(), index));
      this.#pictures.push(picture);
      this.grid.append(picture.node);
    });
    this.grid.classList.toggle("several", pictures.length > 1);
    this.grid.hidden = pictures.length === 0;
    const others = attachments.filter((file) => !isPicture(file));
    this.#files.replaceChildren(...others.map(fileLink));
    this.#files.hidden = others.length === 0;
    this.node.hidden = attachments.length === 0;
  }
}

/** One picture in a button that opens it large; also used by embeds and galleries. */
export class Picture {
  #wanted = "";

  constructor(file, onOpen, widest = WIDEST, tallest = TALLEST) {
    this.limits = [widest, tallest];
    this.image = el("img", { decoding: "async", alt: "" });
    this.alt = el("span", { class: "alt-badge", "aria-hidden": "true", text: "ALT" });
    this.node = el("button", { type: "button", class: "picture" }, this.image, this.alt);
    this.node.addEventListener("click", () => this.#press(onOpen));
    this.update(file);
  }

  update(file) {
    this.file = file;
    const first = this.#wanted === "";
    const url = safeUrl(file.url);
    if (url === null || url === this.#wanted) return this.#dress();
    this.#wanted = url;
    if (first) {
      this.#dress();
      this.image.addEventListener("load", () => this.node.classList.add("loaded"));
      this.image.addEventListener("error", () => this.node.classList.add("broken"));
      this.image.src = url;
    } else {
      this.#swap(url);
    }
  }

  async #swap(url) {
    const next = new Image();
    next.src = url;
    try {
      await next.decode();
    } catch {
      // A picture that cannot be shown keeps the one before it.
      return;
    }
    if (this.#wanted !== url) return;
    next.alt = this.image.alt;
    this.image.replaceWith(next);
    this.image = next;
    this.node.classList.add("loaded");
    this.node.classList.remove("broken");
    this.#dress();
  }

  /** Everything but the address: size, words, cover. */
  #dress() {
    const { file } = this;
    const [width, height] = fit(file.width, file.height, ...this.limits);
    this.image.width = width;
    this.image.height = height;
    this.image.alt = file.description ?? "";
    this.node.style.setProperty("--width", `${width}px`);
    this.node.style.setProperty("--ratio", `${file.width} / ${file.height}`);
    this.alt.hidden = !file.description;
    this.alt.title = file.description ?? "";
    const name = file.description || file.filename || "Picture";
    const covered = isSpoiler(file) && !this.node.classList.contains("shown");
    this.node.classList.toggle("covered", covered);
    this.node.setAttribute("aria-label", covered ? "Spoiler, press to show the picture" : `Open picture: ${name}`);
  }

  #press(onOpen) {
    if (!this.node.classList.contains("covered")) return onOpen();
    this.node.classList.add("shown");
    this.#dress();
  }
}

function fileLink(file) {
  const href = safeUrl(file.url);
  const size = el("span", { class: "file-size", text: fileSize(file.size ?? 0) });
  return el("a", { class: "file", href, target: "_blank", rel: "noopener noreferrer" }, icon("file"), el("span", { text: file.filename }), size);
}

/** "812 B", "14 KB", "2.1 MB". */
export function fileSize(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} KB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
