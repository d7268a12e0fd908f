"""The lines of the table, each made from what a set of prompts was answered with.

Promises: every line is there whatever the data set holds; one without a figure says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from PIL import Image

from diffusion.model import Model
from diffusion.train.evaluate import measures
from diffusion.train.evaluate.asks import Ask
from diffusion.train.evaluate.drawings import Drawings
from diffusion.train.evaluate.figures import Values, figure
from diffusion.train.evaluate.likeness import Neighbours, across_styles, psnr, variety
from diffusion.train.evaluate.measures import Measure, Namer, measured, score_chance
from diffusion.train.evaluate.paint import reconstruct
from diffusion.train.evaluate.table import Line

Painted: TypeAlias = list[list[Image.Image]]

# A way of counting that is wrong on real pictures measures nothing.
LEAST_COUNTED: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answered:
    """A set of asks with the pictures of the model, real ones, and their reconstructions."""

    name: str
    asks: tuple[Ask, ...]
    painted: Painted
    real: Painted
    reconstructed: Painted
    lacking: str


def _line(
    answered: Answered, measure: Measure, key: str, name: str, seed: int, target: str = ""
) -> Line:
    """Measure one set in every way there is."""
    asks = answered.asks
    if not asks:
        return Line(key=key, name=name, target=target, lacking=answered.lacking)
    return Line(
        key=key,
        name=name,
        model=figure(*measured(measure, answered.painted, asks), seed),
        chance=score_chance(measure, answered.painted, asks, seed),
        real=figure(*measured(measure, answered.real, asks), seed),
        reconstructed=figure(*measured(measure, answered.reconstructed, asks), seed),
        target=target,
    )


def judged_lines(answered: Mapping[str, Answered], namer: Namer, seed: int) -> Iterator[Line]:
    """Yield the lines that ask for something and look whether it is there."""
    among = f"right among {namer.distractors + 1}"
    wanted: tuple[tuple[str, Measure, str, str, str], ...] = (
        ("trained", namer.name, "trained", f"trained prompts: {among}", "0.80; CPU 0.55"),
        ("held out", namer.name, "held_out", f"held-out name and style: {among}", "0.65; CPU 0.50"),
        ("trained", namer.style, "style", "trained prompts: style", "90 % of real"),
        ("held out", namer.style, "style_held_out", "held-out name and style: style", ""),
        ("colours", measures.hue, "hue", "held-out colour: hue", "0.85"),
        ("colours", namer.shape, "colour_thing", f"held-out colour: thing {among}", ""),
        ("colours", namer.hue_and_shape, "colour_both", "held-out colour: hue and thing", "0.50"),
        ("backgrounds", measures.background, "background", "background colour", "0.90"),
        ("pairs", namer.both, "pairs", "held-out pairs: both things right", "0.40"),
        ("counts", measures.count, "count", "held-out counts: number of things", ""),
        ("synonyms", namer.name, "synonyms", f"synonyms kept from captions: {among}", ""),
        ("names", namer.name, "synonym_names", f"the same things by name: {among}", ""),
    )
    for name, measure, key, title, target in wanted:
        line = _line(answered[name], measure, key, title, seed, target)
        if key == "count" and line.real is not None and not counts_well(answered[name]):
            told = f"counting is right on only {line.real.value:.2f} of real pictures"
            line = Line(key=key, name=title, real=line.real, lacking=told)
        yield line


def counts_well(counts: Answered) -> bool:
    """Say whether the way of counting is right on real pictures, so that it measures anything."""
    values, _ = measured(measures.count, counts.real, counts.asks)
    return bool(values.mean() >= LEAST_COUNTED)


def copy_lines(
    answered: Mapping[str, Answered], neighbours: Neighbours | None, seed: int
) -> Iterator[Line]:
    for name, key, target in (("held out", "copies_held_out", "< 0.05"), ("trained", "copies", "")):
        title = f"copies among {name.replace(' ', '-')} prompts"
        each = answered[name]
        if neighbours is None or not each.asks:
            lacking = each.lacking or "there is one training drawing alone"
            yield Line(key=key, name=title, target=target, lacking=lacking)
            continue

        def copied(
            pictures: measures.Pictures, _: Sequence[Ask], among: Neighbours = neighbours
        ) -> Values:
            return among.copies(pictures)

        # Real trained drawings are in the set that is searched: that is no figure.
        real = None if name == "trained" else figure(*measured(copied, each.real, each.asks), seed)
        yield Line(
            key=key,
            name=title,
            model=figure(*measured(copied, each.painted, each.asks), seed),
            real=real,
            target=target,
        )


def diversity_line(trained: Answered, drawings: Drawings, seed: int) -> Line:
    key, name = "diversity", "variety over seeds (real: over styles)"
    model, real = variety(trained.painted), variety(across_styles(drawings))
    return Line(
        key=key,
        name=name,
        unit="distance",
        model=figure(model, range(len(model)), seed) if model else None,
        real=figure(real, range(len(real)), seed) if real else None,
        target="30 % of real",
        lacking="" if model else "one picture of each prompt has no variety",
    )


def reconstruction_line(model: Model, trained: Answered, seed: int) -> Line:
    size = model.info.native_width, model.info.native_height
    values = [
        psnr(real.resize(size, Image.Resampling.LANCZOS), again)
        for (real,), (again,) in zip(trained.real, trained.reconstructed, strict=True)
    ]
    return Line(
        key="psnr",
        name="autoencoder: PSNR on white",
        unit="dB",
        reconstructed=figure(values, range(len(values)), seed),
        target="27 dB",
    )


def unseen_line(model: Model, drawings: Drawings, namer: Namer, seed: int) -> Line:
    name = f"drawings the judge never saw: right among {namer.distractors + 1}"
    asks = [
        Ask(prompt=row.name, names=((row.name,),), style=row.style, real=drawings.picture(row))
        for row in drawings.unseen
    ]
    if not asks:
        return Line(key="unseen", name=name, lacking="the judge saw all of them")
    real = [ask.real for ask in asks]
    again = reconstruct(model, real)
    scores = [
        figure(*measured(namer.name, [[picture] for picture in pictures], asks), seed)
        for pictures in (real, again)
    ]
    return Line(key="unseen", name=name, real=scores[0], reconstructed=scores[1])
