"""The whole evaluation of a model, from its files and a data set to a table and a sheet.

Promises: everything is checked before the first picture is painted; the same figures for the same
model, data set and seed. Never: a file written (`table` and `sheet` do that).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffusion.info import describe_model
from diffusion.loading import load_model
from diffusion.model import Model
from diffusion.train.compose.draw import make_stock
from diffusion.train.evaluate.asks import (
    AskSet,
    ask_backgrounds,
    ask_colours,
    ask_counts,
    ask_drawings,
    ask_pairs,
    ask_synonyms,
)
from diffusion.train.evaluate.drawings import Drawings, open_drawings
from diffusion.train.evaluate.gallery import make_sections
from diffusion.train.evaluate.likeness import Neighbours
from diffusion.train.evaluate.lines import (
    Answered,
    copy_lines,
    diversity_line,
    judged_lines,
    reconstruction_line,
    unseen_line,
)
from diffusion.train.evaluate.measures import Namer
from diffusion.train.evaluate.paint import paint, reconstruct
from diffusion.train.evaluate.sheet import Section
from diffusion.train.evaluate.table import Report
from diffusion.train.judge import Judge
from diffusion.train.synonyms import Synonym, synonyms


class EvaluationError(RuntimeError):
    """The model cannot be asked for anything, or the data set holds nothing to ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is painted: at most `prompts` trained and held-out ones with `images` pictures
    each, and at most `others` prompts of every other kind with one picture each.
    """

    prompts: int = 100
    others: int = 100
    images: int = 4

    @classmethod
    def quick(cls) -> Sizes:
        """Return what takes less than a minute."""
        return cls(prompts=20, others=8, images=2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """The table, and the rows of the sheet."""

    report: Report
    sections: tuple[Section, ...]


def evaluate(
    model_source: str | Path,
    folder: Path,
    *,
    sizes: Sizes | None = None,
    seed: int = 7,
    device: str = "cpu",
    dtype: str = "float32",
    judge: Judge | None = None,
    words: Sequence[Synonym] | None = None,
    report: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Measure a model against the data set in a workshop's folder.

    `report` hears what is being painted, how many pictures are done, and how many there will be.
    Raises DataError without a data set, EvaluationError, and what loading or painting raises.
    """
    judge = judge or Judge.load()
    info = describe_model(model_source)
    side = max(info.native_width, info.native_height)
    drawings = open_drawings(folder, model_source, side).known_to(judge.names)
    if not drawings.trained:
        raise EvaluationError(f"{folder / 'art'} holds no drawing that the judge knows.")
    model = load_model(model_source, device=device, dtype=dtype)
    if model.text is None:
        raise EvaluationError(f"{info.name} paints without words: it cannot be asked.")
    sets = _ask(drawings, sizes or Sizes(), seed, synonyms() if words is None else words)
    answered = _answer(model, sets, seed, report)
    namer = Namer(judge, seed=seed)
    neighbours = Neighbours.among(drawings) if len(drawings.trained) > 1 else None
    lines = [
        *judged_lines(answered, namer, seed),
        *copy_lines(answered, neighbours, seed),
        diversity_line(answered["trained"], drawings, seed),
        reconstruction_line(model, answered["trained"], seed),
        unseen_line(model, drawings, namer, seed),
    ]
    defaults = info.defaults
    return Evaluation(
        report=Report(
            model=info.name,
            sha256=info.sha256,
            steps=defaults.steps,
            guidance_scale=defaults.guidance_scale,
            sampler=defaults.sampler,
            seed=seed,
            trained=len(drawings.trained),
            held_out=len(drawings.held_out),
            lines=tuple(lines),
        ),
        sections=tuple(make_sections(answered, namer, drawings, neighbours)),
    )


def _ask(
    drawings: Drawings, sizes: Sizes, seed: int, words: Sequence[Synonym]
) -> tuple[AskSet, ...]:
    stock = make_stock(drawings.pixels, drawings.trained)
    prompts, images = sizes.prompts, sizes.images
    return (
        ask_drawings("trained", drawings, drawings.trained, prompts, seed, images),
        ask_drawings("held out", drawings, drawings.held_out, prompts, seed, images),
        ask_colours(stock, sizes.others, seed),
        ask_backgrounds(drawings, sizes.others, seed),
        ask_pairs(stock, sizes.others, seed),
        ask_counts(stock, sizes.others, seed),
        *ask_synonyms(drawings, words, sizes.others, seed),
    )


def _answer(
    model: Model,
    sets: Sequence[AskSet],
    seed: int,
    report: Callable[[str, int, int], None] | None,
) -> dict[str, Answered]:
    total, done = sum(len(each.asks) * each.images for each in sets), 0
    answered = {}
    for each in sets:

        def painted(count: int, name: str = each.name) -> None:
            nonlocal done
            done += count
            if report is not None:
                report(name, done, total)

        real = [ask.real for ask in each.asks]
        answered[each.name] = Answered(
            name=each.name,
            asks=each.asks,
            painted=paint(
                model,
                [ask.prompt for ask in each.asks],
                images=each.images,
                seed=seed,
                report=painted,
            ),
            real=[[picture] for picture in real],
            reconstructed=[[picture] for picture in reconstruct(model, real)],
            lacking=each.lacking,
        )
    return answered
