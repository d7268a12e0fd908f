"""Forty drawings teach the shipped model a style it never saw: how many pictures have it, before
and after, and of how many the judge still names the thing.

Run: python -m tests.benchmarks.taught_style [--folder training] [--style STYLE] [--out DIR]
Needs the data set of `easel train data`. STYLE is "blueprint", drawings of a set the model never
saw, printed in two inks, which is told by the inks; or one of the data set's, which the judge
tells. Promises: the things that are asked for are none of the forty that were shown, so that what
is measured is the style; pictures before and after have the same seeds. The style is taught as a
LoRA and as a new word, by the commands that people type; what the model's own autoencoder makes of
real drawings is the ceiling of both. Writes taught-style.json and taught-style.png.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageOps

from diffusion import load_model
from diffusion.train.charts import sheet
from diffusion.train.data import Row, fraction_of, read_art, read_index, select
from diffusion.train.evaluate.drawings import on_colour
from diffusion.train.evaluate.paint import paint, reconstruct
from diffusion.train.judge import Judge, judge_names

BLUEPRINT: Final = "blueprint"
PRINTED: Final = "fluent flat"
INK, PAPER = (16, 42, 120), (250, 236, 200)
# How far from both inks' mixtures a pixel may be (1 is from black to white on one channel), and how
# many pixels must be as near, for a picture to be in two inks.
NEAR: Final = 0.12
MOST: Final = 0.9
SHOWN: Final = 40
ASKED: Final = 40
IMAGES: Final = 2
COLUMNS: Final = 10
# What a row of the sheet is called, and what its prompts hold besides the thing.
ADDED: Final = {
    "before": "",
    "LoRA at 0.8": "<lora:taught:0.8>",
    "LoRA at 1": "<lora:taught:1>",
    "new word": ", taught",
}


def split(rows: Sequence[Row], judge: Judge) -> tuple[list[Row], list[Row]]:
    """Choose drawings to show and others to ask for, by a hash of their names alone."""
    known = [row for row in rows if row.name in judge.name_index]
    order = sorted(known, key=lambda row: fraction_of("easel taught style", row.name))
    if len(order) < SHOWN + ASKED:
        raise SystemExit(f"only {len(order)} drawings of that style; choose another.")
    return order[:SHOWN], order[SHOWN : SHOWN + ASKED]


def printed(picture: Image.Image) -> Image.Image:
    """Print a picture in two inks: its lightness decides between them."""
    return ImageOps.colorize(ImageOps.grayscale(picture), black=INK, white=PAPER)


def in_two_inks(picture: Image.Image) -> bool:
    """Say whether a picture's colours are mixtures of the two inks."""
    ink, paper = (np.array(colour) / 255 for colour in (INK, PAPER))
    pixels, way = np.asarray(picture.convert("RGB")) / 255 - ink, paper - ink
    along = np.clip(pixels @ way / (way @ way), 0, 1)
    distance = np.linalg.norm(pixels - along[..., None] * way, axis=-1)
    return float((distance < NEAR).mean()) >= MOST


def judged(
    judge: Judge, pictures: Sequence[Image.Image], names: Sequence[str], style: str
) -> dict[str, float | None]:
    """Return how often a picture has the style, and how often the judge names the thing among a
    hundred.
    """
    if style == BLUEPRINT:
        score = judge_names(judge, pictures, names)
        seen = sum(map(in_two_inks, pictures)) / len(pictures)
        return {"style": seen, "right among 100": score.right_among}
    score = judge_names(judge, pictures, names, [style] * len(names))
    return {"style": score.style, "right among 100": score.right_among}


def main() -> None:
    """Train, paint, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("training"))
    parser.add_argument("--style", default=BLUEPRINT)
    parser.add_argument("--model", default="emoji")
    parser.add_argument("--out", type=Path, default=Path("taught-style"))
    asked = parser.parse_args()
    judge, art = Judge.load(), read_art(asked.folder / "art")
    drawn = PRINTED if asked.style == BLUEPRINT else asked.style
    rows = select(read_index(asked.folder / "art"), styles=(drawn,), preset="known")
    shown, wanted = split(rows, judge)

    def draw(row: Row) -> Image.Image:
        picture = on_colour(art[row.row])
        return printed(picture) if asked.style == BLUEPRINT else picture

    drawings = asked.out / "drawings"
    drawings.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(shown):
        draw(row).save(drawings / f"{number}.png")
        (drawings / f"{number}.txt").write_text(row.name, encoding="utf-8")
    for command, file in (("lora", "loras"), ("inversion", "embeddings")):
        taught = asked.out / file / "taught.safetensors"
        taught.parent.mkdir(exist_ok=True)
        words = ["train", command, str(drawings), "--model", asked.model, "--out", str(taught)]
        if command == "inversion":
            words += ["--word", "taught"]
        subprocess.run([sys.executable, "-m", "bot", *words], check=True)  # noqa: S603

    model = load_model(asked.model, loras=asked.out / "loras", embeddings=asked.out / "embeddings")
    things = [row.name for row in wanted]
    real = [draw(row) for row in wanted]
    shelves: dict[str, Sequence[Image.Image]] = {
        "as drawn": real,
        "as drawn, reconstructed": reconstruct(model, real),
    }
    told = {name: judged(judge, shelf, things, asked.style) for name, shelf in shelves.items()}
    for name, added in ADDED.items():
        painted = paint(model, [f"{thing}{added}" for thing in things], images=IMAGES, seed=1)
        flat = [each for some in painted for each in some]
        names = [thing for thing in things for _ in range(IMAGES)]
        told[name] = judged(judge, flat, names, asked.style)
        shelves[name] = [some[0] for some in painted]
    (asked.out / "taught-style.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    order = [*ADDED, "as drawn, reconstructed", "as drawn"]
    sheet(
        [shelves[name][:COLUMNS] for name in order],
        asked.out / "taught-style.png",
        columns=things[:COLUMNS],
        labels=order,
    )
    for name in order:
        style, right = told[name]["style"], told[name]["right among 100"]
        sys.stdout.write(f"{name}: {asked.style} {style:.2f}, thing right among 100 {right:.2f}\n")


if __name__ == "__main__":
    main()
