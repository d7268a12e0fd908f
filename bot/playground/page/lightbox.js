/*
 * A picture on its own, large, with its words below; arrows walk through the message's pictures.
 */

import { safeUrl } from "./dom.js";

export class Lightbox {
  #pictures = [];
  #index = 0;

  constructor(dialog) {
    this.dialog = dialog;
    this.image = dialog.querySelector("img");
    this.caption = dialog.querySelector("[data-caption]");
    this.original = dialog.querySelector("[data-original]");
    this.steps = [...dialog.querySelectorAll("[data-step]")];
    dialog.addEventListener("click", (event) => this.#click(event));
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") this.#move(-1);
      if (event.key === "ArrowRight") this.#move(1);
    });
  }

  open(pictures, index) {
    this.#pictures = pictures;
    this.#index = index;
    this.#show();
    this.dialog.showModal();
  }

  #click(event) {
    const step = event.target.closest("[data-step]");
    if (step) return this.#move(Number(step.dataset.step));
    if (!event.target.closest("a, figcaption")) this.dialog.close();
  }

  #move(step) {
    if (this.#pictures.length < 2) return;
    this.#index = (this.#index + step + this.#pictures.length) % this.#pictures.length;
    this.#show();
  }

  #show() {
    const file = this.#pictures[this.#index];
    const url = safeUrl(file.url);
    this.image.removeAttribute("src");
    this.image.width = file.width;
    this.image.height = file.height;
    this.image.alt = file.description ?? "";
    this.image.src = url;
    this.caption.textContent = file.description ?? file.filename ?? "";
    this.original.href = url;
    for (const step of this.steps) step.hidden = this.#pictures.length < 2;
  }
}
