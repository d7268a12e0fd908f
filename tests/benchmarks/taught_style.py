"""Forty drawings teach the shipped model a style it never saw: the judge says before and after.

Run: python -m tests.benchmarks.taught_style [--folder training] [--style streamline] [--out DIR]
Needs the data set of `easel train data`. Promises: the things that are asked for are none of the
forty that were shown, so that what is measured is the style; pictures before and after have the
same seeds. Writes taught-style.json and taught-style.png; trains by the command that people type.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image

from diffusion import load_model
from diffusion.train.charts import sheet
from diffusion.train.data import Row, fraction_of, read_art, read_index, select
from diffusion.train.evaluate.drawings import on_colour
from diffusion.train.evaluate.paint import paint
from diffusion.train.judge import Judge, judge_names

SHOWN: Final = 40
ASKED: Final = 40
IMAGES: Final = 2
COLUMNS: Final = 10
WEIGHTS: Final = (0.0, 0.8, 1.0)


def split(rows: Sequence[Row], judge: Judge) -> tuple[list[Row], list[Row]]:
    """Choose drawings to show and others to ask for, by a hash of their names alone."""
    known = [row for row in rows if row.name in judge.name_index]
    order = sorted(known, key=lambda row: fraction_of("easel taught style", row.name))
    if len(order) < SHOWN + ASKED:
        raise SystemExit(f"only {len(order)} drawings of that style; choose another.")
    return order[:SHOWN], order[SHOWN : SHOWN + ASKED]


def main() -> None:
    """Train, paint, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("training"))
    parser.add_argument("--style", default="streamline")
    parser.add_argument("--model", default="emoji")
    parser.add_argument("--out", type=Path, default=Path("taught-style"))
    asked = parser.parse_args()
    judge, art = Judge.load(), read_art(asked.folder / "art")
    rows = select(read_index(asked.folder / "art"), styles=(asked.style,), preset="known")
    shown, wanted = split(rows, judge)
    drawings = asked.out / "drawings"
    drawings.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(shown):
        on_colour(art[row.row]).save(drawings / f"{number}.png")
        (drawings / f"{number}.txt").write_text(row.name, encoding="utf-8")
    taught = asked.out / "loras" / "taught.safetensors"
    taught.parent.mkdir(exist_ok=True)
    command = ["train", "lora", str(drawings), "--model", asked.model, "--out", str(taught)]
    subprocess.run([sys.executable, "-m", "bot", *command], check=True)  # noqa: S603

    model = load_model(asked.model, loras=taught.parent)
    names = [row.name for row in wanted for _ in range(IMAGES)]
    styles = [asked.style] * len(names)
    real = [on_colour(art[row.row]) for row in wanted]
    told: dict[str, dict[str, float | None]] = {}
    score = judge_names(judge, real, names[::IMAGES], styles[::IMAGES])
    told["real drawings"] = {"style": score.style, "right among 100": score.right_among}
    shelves: list[list[Image.Image]] = []
    for weight in WEIGHTS:
        added = f"<lora:taught:{weight}>" if weight else ""
        painted = paint(model, [f"{row.name}{added}" for row in wanted], images=IMAGES, seed=1)
        score = judge_names(judge, [each for some in painted for each in some], names, styles)
        told[f"weight {weight:g}"] = {"style": score.style, "right among 100": score.right_among}
        shelves.append([some[0] for some in painted])
    (asked.out / "taught-style.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    sheet(
        [shelf[:COLUMNS] for shelf in (*shelves, real)],
        asked.out / "taught-style.png",
        columns=[row.name for row in wanted[:COLUMNS]],
        labels=["before", *(f"weight {weight:g}" for weight in WEIGHTS[1:]), "as drawn"],
    )
    for name, figures in told.items():
        style, right = figures["style"], figures["right among 100"]
        sys.stdout.write(f"{name}: {asked.style} {style:.2f}, thing right among 100 {right:.2f}\n")


if __name__ == "__main__":
    main()
